"""Settings of the connection to servers outside."""

from __future__ import annotations

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator

from visql_lib.config.units import SettingsSection, setting

ENVIRONMENT, DIRECT = "environment", "none"


def _proxy(text: str) -> str:
    """Check a proxy; do not show a wrong one, because it may contain a password."""
    if text in (ENVIRONMENT, DIRECT):
        return text
    if "@" in text:
        raise ValueError("must hold no user or password; leave environment, and set HTTPS_PROXY there")
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https", "socks5", "socks5h") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        known = False
    if not known or any(c.isspace() for c in text):
        raise ValueError("must be environment, none, or an address such as http://proxy.host:3128")
    return text


class NetworkSettings(SettingsSection):
    """The connection to the archive, the services and the recipients of alerts; no result depends on it."""

    recorded: ClassVar[bool] = False

    proxy: Annotated[str, AfterValidator(_proxy)] = setting(
        ENVIRONMENT,
        None,
        "Proxy for all requests: environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), none, or an address.",
        secret=True,
    )
