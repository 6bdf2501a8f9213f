"""What the running step has read and used: the ledger that provenance is written from.

Whoever reads a file, a setting or a fact of the instrument says so here; nobody
has to hand it through. Nothing is noted outside a step, such as in the workflow's
main process.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Whose versions are told, of those that a step has loaded; their import names.
LIBRARIES = (
    *("numpy", "scipy", "astropy", "numba", "pyarrow", "matplotlib", "photutils", "sep", "PIL", "erfa"),
    *("astropy_healpix", "imageio_ffmpeg", "netCDF4", "galsim"),
)


@dataclass
class Ledger:
    """What one step has read and used until now.

    ``inputs``: absolute path to checksum, or to what is known of a raw frame; ``settings``
    and ``facts``: names to values, which are models or plain; ``started``: s, of a clock
    that only counts.
    """

    step: str = ""
    started: float = 0.0
    inputs: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


_LEDGER = Ledger()


def begin(step: str) -> None:
    """Start a new ledger."""
    global _LEDGER
    _LEDGER = Ledger(step, time.perf_counter())


def current() -> Ledger:
    """Return the ledger of the running step; an empty one outside of any."""
    return _LEDGER


def read(path: Path, checksum: str | Mapping[str, Any]) -> None:
    """Note a file that was read, with its checksum."""
    if _LEDGER.step:
        _LEDGER.inputs[os.path.abspath(path)] = checksum  # noqa: PTH100 resolve() would follow links


def go_on_from(path: Path, checksum: str) -> None:
    """Forget what was read until now but a product made of it: what comes next is made from that alone."""
    _LEDGER.inputs.clear()
    read(path, checksum)


def used_setting(name: str, value: Any) -> None:
    """Note a section of settings that was used."""
    if _LEDGER.step:
        _LEDGER.settings[name] = value


def used_fact(name: str, value: Any) -> None:
    """Note a fact of the instrument, or a file of facts, that was used."""
    if _LEDGER.step:
        _LEDGER.facts[name] = value


def clock() -> datetime | None:
    """Return the time that SOURCE_DATE_EPOCH sets [s since 1970], None without: for the same bytes again."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() else None


def now() -> str:
    """Return the time that products carry: ISO 8601, UTC, whole seconds."""
    return (clock() or datetime.now(UTC)).isoformat(timespec="seconds")


def surroundings() -> dict[str, Any]:
    """Return when, where and with what the step runs; see `clock`."""
    fixed = clock() is not None
    loaded = {name: sys.modules[name] for name in LIBRARIES if name in sys.modules}
    spent = time.perf_counter() - _LEDGER.started if _LEDGER.step else 0.0
    return {
        "made": now(),
        "host": "" if fixed else platform.node(),
        "duration": 0.0 if fixed else round(spent, 2),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "libraries": {name: str(getattr(module, "__version__", "")) for name, module in loaded.items()},
    }
