"""Pages of HTML, as far as we need them: their text and their links.

Pages may be anything, so nothing here takes longer than in proportion to their length.
"""

from __future__ import annotations

import html
import re

_READ = 20_000  # characters of a page that are read for an excerpt
_SHOWN = 200
_HIDDEN = ("script", "style", "head")
_HREF = re.compile(r"""(?:^|[\s"'/])href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_AFTER = " \t\r\n\f/"  # what may follow the name of a tag
_LONGEST = 1000  # characters of an address; longer ones are no file names


def excerpt(body: bytes) -> str:
    """Extract the beginning of the text of a page or an XML document."""
    text = body[: 4 * _READ].decode("utf-8", "replace")[:_READ]
    texts, hidden = [], ""
    for number, piece in enumerate(text.split("<")):
        tag, closed, rest = piece.partition(">")
        if number == 0:
            texts.append(piece)
            continue
        word = tag.split(None, 1)[0].lower() if tag.strip() else ""
        if hidden:
            if closed and word == f"/{hidden}":
                hidden = ""
                texts.append(rest)
        elif not closed:
            texts.append(f"<{piece}")
        elif word in _HIDDEN:
            hidden = word
        else:
            texts.append(rest)
    return printable(" ".join(" ".join(texts).split())) or "no readable text"


def printable(text: str) -> str:
    """Shorten a text from outside for a message, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN])


def links(text: str) -> list[str]:
    """Extract the addresses a page links to, in its order."""
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
