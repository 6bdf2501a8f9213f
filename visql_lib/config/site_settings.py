"""Settings of the site and of its alerts."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from visql_lib.config.units import SettingsSection, names_in, one_or_more, setting


def _address(text: str) -> str:
    """Check the address of a folder of pages; return it with a slash at its end, or "" as it is."""
    if not text:
        return text
    try:
        parts = urlsplit(text)
        known = (parts.scheme in ("http", "https") and bool(parts.hostname)) or (
            parts.scheme == "file" and parts.path.startswith("/")
        )
    except ValueError:
        known = False
    if not known or any(c.isspace() for c in text):
        raise ValueError("must be an address such as https://host/results/site or file:///data/results/site")
    if parts.query or parts.fragment or parts.path.endswith(".html"):
        raise ValueError("must be the address of the folder of the site, without a page, ? or #")
    return text.rstrip("/") + "/"


class SiteSettings(SettingsSection):
    """The web pages in {results}/site."""

    title: str = setting("VISQL", None, "Title of all pages.")
    url: Annotated[str, AfterValidator(_address)] = setting(
        "",
        None,
        "Address under which the site is served, for links in messages and the feed; empty: relative links.",
    )
    days: int = setting(30, "d", "Number of days shown on the front page.", ge=1)
    thumbnail: int = setting(240, "px", "Width of the small pictures in tables.", ge=60, le=1000)
    full_resolution: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        (), None, "Exposures whose viewer shows full resolution; the others are binned to blocks of 8 x 8 px."
    )
    marks: str = setting(
        "", None, "File with marks and notes exported by a browser, shown to everybody; empty: none."
    )


class AlertSettings(SettingsSection):
    """Alerts about values out of limits. Passwords are read from netrc only."""

    webhook: str = setting(
        "", None, "Address to which every alert is sent as JSON (POST); empty: none.", secret=True
    )
    mail_to: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = setting(
        (), None, "Mail addresses to which alerts are sent; empty: none."
    )
    mail_from: str = setting("visql@localhost", None, "Sender of the mails.")
    mail_server: str = setting("localhost:25", None, "Mail server, HOST:PORT.")
    repeat: float = setting(24.0, "h", "Time after which an alert that lasts is sent again.", gt=0)
    dead_man: str = setting(
        "",
        None,
        "Address requested after every successful run, so that an external monitor notices when runs stop; "
        "empty: none.",
        secret=True,
    )
    least: str = setting(
        "error", None, "Lowest status for which alerts are sent: warn or error.", pattern="^(warn|error)$"
    )
