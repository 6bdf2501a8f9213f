"""The alerts as an Atom feed (RFC 4287), for feed readers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from visql_lib import __version__
from visql_lib.qc.alerts import OPEN, Alert
from visql_lib.qc.messages import addressed, details, line
from visql_lib.qc.summary import Terms

ATOM = "http://www.w3.org/2005/Atom"
_ENTRIES = 100  # the newest
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # when nothing ever happened
# What XML cannot hold, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def feed_text(alerts: Sequence[Alert], title: str, terms: Terms, site: str = "") -> str:
    """Compose the content of feed.xml.

    An entry is an alert; it comes up again when its state or its status changes,
    not when it merely lasts. Ids depend on the title and the alert only, so they
    stay the same whatever is built anew. `site` is the address of the site, if
    it has one: else links are relative to the feed.
    """
    space = uuid5(NAMESPACE_URL, f"visql:{title}")
    newest = sorted(alerts, key=lambda a: (a.changed, a.id), reverse=True)[:_ENTRIES]
    root = ET.Element("feed", xmlns=ATOM)
    _add(root, "id", space.urn)
    _add(root, "title", f"{title}: alerts")
    _add(root, "updated", newest[0].changed if newest else f"{_NEVER:%Y-%m-%dT%H:%M:%SZ}")
    _add(_add(root, "author", None), "name", title)
    _add(root, "generator", "VISQL", version=__version__)
    _add(root, "link", None, rel="self", type="application/atom+xml", href=f"{site}feed.xml")
    _add(root, "link", None, rel="alternate", type="text/html", href=f"{site}index.html")
    for alert in newest:
        _entry(root, addressed(alert, site), space, terms)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _entry(root: ET.Element, alert: Alert, space: UUID, terms: Terms) -> None:
    entry = _add(root, "entry", None)
    state = alert.status if alert.state == OPEN else "closed"
    _add(entry, "id", uuid5(space, alert.id).urn)
    _add(entry, "title", f"{state}: {line(alert, terms)}")
    _add(entry, "updated", alert.changed)
    _add(entry, "published", alert.first_seen)
    _add(entry, "category", None, term=alert.category, label=terms.categories[alert.category])
    _add(entry, "link", None, rel="alternate", type="text/html", href=alert.link)
    _add(entry, "content", "\n".join(details(alert)), type="text")


def _add(parent: ET.Element, tag: str, text: str | None, **attributes: str) -> ET.Element:
    clean = {name: _FORBIDDEN.sub("\ufffd", value) for name, value in attributes.items()}
    child = ET.SubElement(parent, tag, clean)
    if text is not None:
        child.text = _FORBIDDEN.sub("\ufffd", text) or "-"
    return child
