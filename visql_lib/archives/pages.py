"""Pages of HTML, as far as we need them: what they say, and what they link to.

Pages may be anything, so nothing here takes longer than in proportion to their length.
"""

from __future__ import annotations

import html
import re

_READ = 20_000  # characters of a page whose gist is told
_SHOWN = 200
_UNSEEN = ("script", "style", "head")
_HREF = re.compile(r"""(?:^|[\s"'/])href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_AFTER = " \t\r\n\f/"  # what may follow the name of a tag
_LONGEST = 1000  # characters of an address; longer ones are no file names


def gist(body: bytes) -> str:
    """Return the beginning of what a page or an XML document says to its reader."""
    text = body[: 4 * _READ].decode("utf-8", "replace")[:_READ]
    said, hidden = [], ""
    for number, piece in enumerate(text.split("<")):
        tag, closed, rest = piece.partition(">")
        if number == 0:
            said.append(piece)
            continue
        word = tag.split(None, 1)[0].lower() if tag.strip() else ""
        if hidden:
            if closed and word == f"/{hidden}":
                hidden = ""
                said.append(rest)
        elif not closed:
            said.append(f"<{piece}")
        elif word in _UNSEEN:
            hidden = word
        else:
            said.append(rest)
    found = " ".join(" ".join(said).split())
    return short(found) or "nothing that can be read"


def short(text: str) -> str:
    """Return the beginning of what somebody else said, as a message may show it."""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN])


def links(text: str) -> list[str]:
    """Return the addresses a page links to, in its order."""
    found = []
    for piece in text.split("<")[1:]:
        tag = piece.partition(">")[0]
        if tag[:1] not in ("a", "A") or tag[1:2].strip(_AFTER):  # another one, such as <abbr>
            continue
        if match := _HREF.search(tag, 1):
            target = next((group for group in match.groups() if group), "")
            if 0 < len(target) <= _LONGEST:
                found.append(_plain(target))
    return found


def _plain(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a character whose number has thousands of digits
        return text
