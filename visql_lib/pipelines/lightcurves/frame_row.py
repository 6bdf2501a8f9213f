"""The row of a frame in the table FRAMES, while it is measured, and as text in the frame's own product."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from visql_lib.images.light_facts import LightFacts
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import stem_of
from visql_lib.pipelines.lightcurves.decisions import Decision
from visql_lib.pipelines.lightcurves.schemas import FRAMES
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.sheets.nights import NOON, boundary_for, boundary_of, night_of
from visql_lib.sky.observing import mjd_of_bjd, observe
from visql_lib.values import MJD_ZERO

ROW = "row"  # in the metadata of a frame's catalogue


@dataclass
class LightRow:
    """What is known of a frame; ``values`` are the columns of FRAMES, as far as they are."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        unknown = {c.name: c.unknown for c in FRAMES.columns}
        start = {"FRAME": self.name, "FILE": str(self.path), "STATUS": str(LightStatus.OK)}
        self.values = unknown | start | self.values

    @property
    def name(self) -> str:
        """The frame."""
        return stem_of(self.path.name)

    @property
    def status(self) -> LightStatus:
        """What became of it."""
        return LightStatus(self.values["STATUS"])

    def became(self, status: LightStatus, reason: str) -> None:
        """Note what became of it, and why, without the name of its file before it."""
        for name in (str(self.path), self.path.name):
            reason = reason.removeprefix(f"{name}: ")
        self.values |= {"STATUS": str(status), "REASON": reason}

    def note(self, text: str) -> None:
        """Add what is odd about it."""
        known = self.values["REASON"]
        self.values["REASON"] = "; ".join(dict.fromkeys(part for part in (known, text) if part))

    def take_facts(self, facts: LightFacts, camera: Instrument, place: tuple[float, float] | None) -> None:
        """Take the facts of the header, and what follows from the time.

        Parameters
        ----------
        facts : LightFacts
        camera : Instrument
            Tells where nights end, if no site is known.
        place : tuple of float, optional
            RA, Dec of the target [deg].
        """
        ra, dec = place or (math.nan, math.nan)
        mjd = facts.mjd
        if math.isnan(mjd) and math.isfinite(facts.bjd):
            mjd = mjd_of_bjd(facts.bjd, ra, dec, facts.site)
        self.values |= {
            "MJD": mjd,
            "EXPTIME": facts.exptime,
            "FILTER": facts.filter,
            "GAIN": facts.gain,
            "READ_NOISE": facts.read_noise,
            "SATURATION": facts.saturation,
            "NIGHT": _night(mjd, facts, camera),
        }
        seen = observe(mjd, ra, dec, facts.site, self.name)
        self.values |= {column: float(value[0]) for column, value in seen.items()}
        if math.isfinite(facts.bjd):
            self.values["BJD_TDB"] = facts.bjd  # it is barycentric already
        for note in facts.notes:
            self.note(note)

    def as_meta(self) -> dict[str, Any]:
        """Return it for the metadata of a table: JSON has no NaN, so unknown numbers are null."""
        plain = {n: v.item() if hasattr(v, "item") else v for n, v in self.values.items()}
        return {
            ROW: {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in plain.items()}
        }

    @classmethod
    def from_meta(cls, path: Path, meta: Mapping[str, Any]) -> LightRow | None:
        """Return the row that a frame's catalogue holds, None if it holds none."""
        told = meta.get(ROW)
        if not isinstance(told, dict) or set(told) != set(FRAMES.names):
            return None
        values = {n: math.nan if v is None else v for n, v in told.items()}
        return cls(path, values | {"FILE": str(path)})

    def decisions(self, name: str) -> list[Decision]:
        """Return what was decided about it, as a frame of a set."""
        if self.status.is_used:
            return []
        return [Decision(self.name, name, "lc_frame", False, f"{self.status}: {self.values['REASON']}")]


def _night(mjd: float, facts: LightFacts, camera: Instrument) -> str:
    """Return the local night of the start of the exposure, "" where no time is known."""
    if not math.isfinite(mjd):
        return ""
    boundary = boundary_of(facts.site.longitude) if facts.site is not None else boundary_for(camera)
    half = 0.0 if math.isnan(facts.exptime) else facts.exptime / 2
    start = MJD_ZERO.astimezone(UTC) + timedelta(days=mjd, seconds=-half)
    return night_of(start, NOON if boundary is None else boundary)
