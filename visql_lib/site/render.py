"""Render pages from templates: everything that comes from data is escaped."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import date, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from visql_lib import __version__
from visql_lib.qc.quantity import Quantity

# Status -> icon and text; the colour is the style sheet's.
STATUS_TEXT: dict[str, tuple[str, str]] = {
    "ok": ("✓", "ok"),
    "warn": ("▲", "warning"),
    "error": ("■", "error"),
    "failed": ("✖", "failed"),
    "missing": ("○", "missing"),
    "unjudged": ("?", "not judged"),
    "none": ("–", "nothing to judge"),
}
_SCIENTIFIC = 8  # digits from which a number is written with an exponent


def folder(name: str) -> Path:
    """Find the folder ``templates`` or ``static`` of the package."""
    return Path(str(resources.files("visql_lib.site"))) / name


@cache
def environment() -> jinja2.Environment:
    """Make the environment of all templates."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "size": size_text,
        "number": number_text,
        "day": day_text,
        "moment": moment_text,
        "url": url,
    }
    found.globals |= {
        "STATUS_TEXT": STATUS_TEXT,
        "version": __version__,
    }
    return found


def render(template: str, **context: Any) -> str:
    """Render a page."""
    return environment().get_template(template).render(**context)


@cache
def style_digest() -> str:
    """Compute a digest of the templates and the version: all pages depend on it."""
    found = hashlib.sha256(__version__.encode())
    for path in sorted(folder("templates").glob("*.html")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:12]


def script_data(target: str, value: Any) -> str:
    """Compose a script that sets `target` to a value: data that pages opened as files can read.

    No content of the data can end the script that contains them.
    """
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    for character, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, code)
    return f"window.visql=window.visql||{{}};\n{target}={text};\n"


def _finite(value: Any) -> Any:
    """Replace values that JSON cannot hold by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def url(path: str) -> str:
    """Quote a relative path as part of an address: names may hold #, ? or %."""
    return quote(path, safe="/.,-_~+=@:")


def size_text(size: float) -> str:
    """Format a size of a file [bytes]."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def rounded(value: float, quantity: Quantity) -> float:
    """Round a value to the digits shown."""
    if quantity.digits >= _SCIENTIFIC:
        return float(f"{value:.3e}")
    return round(value, quantity.digits)


def number_text(value: float | None, digits: int = 3) -> str:
    """Format a number; – where it is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.2e}" if digits >= _SCIENTIFIC else f"{value:.{digits}f}"
    return text.replace("-", "−")


def day_text(value: str | date) -> str:
    """Format a day, from a date or an ISO time."""
    return value[:10] if isinstance(value, str) else value.isoformat()


def moment_text(value: str | datetime) -> str:
    """Format a time to the second, UTC, without the T."""
    text = value if isinstance(value, str) else value.strftime("%Y-%m-%dT%H:%M:%S")
    return text[:19].replace("T", " ")
