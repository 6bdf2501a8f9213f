"""The frames of sets as they are aligned with each other: catalogues read, hits and cut stars weighed."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.flags import SourceFlag
from visql_lib.pipelines.lightcurves.schemas import FRAMES
from visql_lib.pipelines.lightcurves.settings.frames import AlignmentSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.sky.alignment import AlignmentLimits
from visql_lib.sky.reference_choice import FieldFrame
from visql_lib.sky.registration import Places
from visql_lib.tables.store import Table, read_table

log = logging.getLogger(__name__)

_PLACE = 0.02  # px, error of the place of a bright star
_CUT = 0.3  # px, of one that is saturated or cut
_UNSURE = SourceFlag.SATURATED | SourceFlag.TRUNCATED | SourceFlag.ISOPHOTE_INCOMPLETE
_COLUMNS = ("X_IMAGE", "Y_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE", "FLUX_AUTO", "FLUXERR_AUTO", "PEAK", "FWHM")


@dataclass(frozen=True)
class SetFrames:
    """The table of the frames of a set, and where their products lie.

    Parameters
    ----------
    path : Path
        ``.../SET/frames_SET.parquet``; catalogues are ``.../SET/frames/FRAME/FRAME_cat.parquet``.
    set : str
    table : Table
        FRAMES.
    """

    path: Path
    set: str
    table: Table

    @classmethod
    def read(cls, path: Path) -> SetFrames:
        """Read a table of frames; the set is told by its name."""
        return cls(path, path.stem.removeprefix("frames_"), read_table(path, FRAMES.names))

    @property
    def names(self) -> list[str]:
        """All frames."""
        return [str(name) for name in self.table["FRAME"]]

    @property
    def used(self) -> list[int]:
        """Rows of the frames that are used."""
        return [i for i, status in enumerate(self.table["STATUS"]) if status == str(LightStatus.OK)]

    def row(self, frame: str) -> dict[str, Any]:
        """Return the row of a frame.

        Raises
        ------
        TableError
            If the table has none.
        """
        if frame not in self.names:
            raise TableError(f"{self.path}: has no frame {frame!r}")
        i = self.names.index(frame)
        return {name: values[i] for name, values in self.table.items()}

    def stem(self, frame: str) -> Path:
        """Return folder and beginning of the names of a frame's products."""
        return self.path.parent / "frames" / frame / frame


def catalogue_path(stem: Path) -> Path:
    """Return where the catalogue of a frame is."""
    return stem.with_name(f"{stem.name}_cat.parquet")


def read_catalogue(stem: Path) -> Table:
    """Read the catalogue of a frame without the hits of cosmic rays.

    Raises
    ------
    TableError
        If it is missing, or no such table.
    """
    path = catalogue_path(stem)
    table = read_table(path)
    if lost := sorted({*_COLUMNS, "FLAGS", "COSMIC"} - set(table)):
        raise TableError(f"{path}: no catalogue of a frame, without the columns {', '.join(lost)}")
    real = ~np.asarray(table["COSMIC"], bool)
    return Table({name: values[real] for name, values in table.items()}, table.meta)


def places_of(catalogue: Mapping[str, NDArray]) -> Places:
    """Return the stars of a catalogue as they are aligned; cut or saturated ones count for less."""
    flags = np.asarray(catalogue["FLAGS"], int)
    flux = np.asarray(catalogue["FLUX_AUTO"], float)
    err = np.where((flags & int(_UNSURE)) != 0, _CUT, _PLACE)
    x, y = (np.asarray(catalogue[name], float) - 1 for name in ("XWIN_IMAGE", "YWIN_IMAGE"))
    good = np.isfinite(x) & np.isfinite(y) & (flux > 0)
    return Places(x[good], y[good], flux[good], err[good])


def pixel_of(row: Mapping[str, Any]) -> float:
    """Return the side of a frame's pixels [arcsec], of its seeing in both units; NaN: not known."""
    arcsec, px = float(row["SEEING"]), float(row["SEEING_PX"])
    return arcsec / px if px > 0 and arcsec > 0 else math.nan


def field_frame(row: Mapping[str, Any], stem: Path, pixel: float = math.nan) -> FieldFrame:
    """Return a frame as it is aligned; pixels of unknown side count as 1."""
    side = pixel if math.isfinite(pixel) else pixel_of(row)
    shape = int(row["NY"]), int(row["NX"])
    return FieldFrame(places_of(read_catalogue(stem)), shape, side if math.isfinite(side) else 1.0)


def field_frames(sets: Sequence[SetFrames]) -> list[tuple[SetFrames, dict[str, Any], FieldFrame]]:
    """Read the frames of sets that are used, in the order of time; one without catalogue is left out."""
    found = []
    for part in sets:
        for i in part.used:
            row = {name: values[i] for name, values in part.table.items()}
            try:
                found.append((part, row, field_frame(row, part.stem(str(row["FRAME"])))))
            except TableError as error:
                log.warning("%s: is not tried as reference: %s", row["FRAME"], error)
    known = {part.set: all(math.isfinite(pixel_of(row)) for p, row, _ in found if p is part) for part in sets}
    if not all(known.values()):  # sides in arcsec and 1 do not mix
        found = [(part, row, FieldFrame(f.stars, f.shape, 1.0)) for part, row, f in found]
    return sorted(found, key=lambda item: float(item[1]["MJD"]))


def limits_of(settings: AlignmentSettings) -> AlignmentLimits:
    """Return the limits of an alignment."""
    return AlignmentLimits(settings.max_stars, settings.min_stars, settings.max_rms, settings.max_scale)
