"""The run record: what one run of a step has read and used. Provenance is written from it.

A run is recorded with `recording`; whoever reads a file then notes it in `current`, and the context of a
stage (`visql_lib.products.context`) notes the settings and facts that its stage declares; nobody has to
hand the record through. Each thread and each asynchronous task has its own current record, so that two
frames that are worked on in one process do not mix. Outside a run, such as in the workflow's main
process, nothing is kept.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FITS_RECORD = "VISQL_RECORD"  # the extension of a FITS file that holds its record

# Libraries whose versions are recorded if a step has loaded them; their import names.
LIBRARIES = (
    *("numpy", "scipy", "astropy", "numba", "pyarrow", "matplotlib", "photutils", "sep", "PIL", "erfa"),
    *("astropy_healpix", "imageio_ffmpeg", "netCDF4", "galsim"),
)


@dataclass
class RunRecord:
    """What a run has read and used so far.

    ``step`` is "" outside a run; ``inputs``: absolute path to checksum, or to what is known of a raw frame;
    ``settings`` and ``facts``: names to values, which are models or plain; ``started``: s, of a clock
    that only counts.
    """

    step: str = ""
    started: float = 0.0
    inputs: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def read(self, path: Path, checksum: str | Mapping[str, Any]) -> None:
        """Note a file that was read, with its checksum."""
        if self.step:
            self.inputs[os.path.abspath(path)] = checksum  # noqa: PTH100 resolve() would follow links

    def restart_from(self, path: Path, checksum: str) -> None:
        """Forget what was read so far but a product made of it: what follows is made from that alone."""
        self.inputs.clear()
        self.read(path, checksum)

    def use_setting(self, name: str, value: Any) -> None:
        """Note a section of settings that was used."""
        if self.step:
            self.settings[name] = value

    def use_fact(self, name: str, value: Any) -> None:
        """Note a fact of the instrument, or a file of facts, that was used."""
        if self.step:
            self.facts[name] = value

    def environment(self) -> dict[str, Any]:
        """Return when, where and with what the run is made; see `clock`."""
        fixed = clock() is not None
        loaded = {name: sys.modules[name] for name in LIBRARIES if name in sys.modules}
        spent = time.perf_counter() - self.started if self.step else 0.0
        return {
            "made": now(),
            "host": "" if fixed else platform.node(),
            "duration": 0.0 if fixed else round(spent, 2),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "libraries": {name: str(getattr(module, "__version__", "")) for name, module in loaded.items()},
        }


_CURRENT: ContextVar[RunRecord | None] = ContextVar("run_record", default=None)


def current() -> RunRecord:
    """Return the record of the current run; outside of any, one that keeps nothing."""
    return _CURRENT.get() or RunRecord()


@contextmanager
def recording(step: str) -> Iterator[RunRecord]:
    """Record a run of a step: within, and in what is called from there, its record is the current one."""
    record = RunRecord(step, time.perf_counter())
    token = _CURRENT.set(record)
    try:
        yield record
    finally:
        _CURRENT.reset(token)


def clock() -> datetime | None:
    """Return the time that SOURCE_DATE_EPOCH sets [s since 1970], None without: for the same bytes again."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdecimal() else None


def now() -> str:
    """Return the time that products carry: ISO 8601, UTC, whole seconds."""
    return (clock() or datetime.now(UTC)).isoformat(timespec="seconds")
