"""The reference of a target as the stages read it: its stars, and the places that are kept beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.pipelines.lightcurves.schemas import REFERENCE
from visql_lib.tables.store import Table, read_table
from visql_lib.values import number

Box = tuple[float, float, float]  # least x, least y, side


@dataclass(frozen=True)
class TargetReference:
    """The geometric reference of a target; all places in Python are zero-based, in its metadata one-based.

    Attributes
    ----------
    frame, set : str
        The reference frame, and its set.
    shape : (int, int)
        Its rows and columns.
    points : dict
        Point source -> (x, y) in the reference.
    photometric : dict
        Set -> its photometric reference frame.
    box : tuple or None
        Least x and y (of the edge of the first pixel) and side of the emptiest box; None: there is none.
    pixel : float
        Side of its pixels [arcsec]; NaN: not known.
    fwhm : float
        Its seeing [px].
    seeings : mapping
        Set -> median seeing [px] of the frames that there were, of which apertures are made.
    automatic : bool
        Whether its stars were chosen, and not taken from the user's list.
    masks : tuple of (float, float, float)
        The user's masks: x, y, radius.
    wcs : mapping
        Cards of its WCS; empty: none.
    stars : Table
        REFERENCE.
    """

    frame: str
    set: str
    shape: tuple[int, int]
    points: Mapping[str, tuple[float, float]]
    photometric: Mapping[str, str]
    box: Box | None
    pixel: float
    fwhm: float
    stars: Table
    seeings: Mapping[str, float] = field(default_factory=dict)
    automatic: bool = True
    masks: tuple[Box, ...] = ()
    wcs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def x(self) -> NDArray[np.float64]:
        """Places of all sources, zero-based."""
        return np.asarray(self.stars["X"], float) - 1

    @property
    def y(self) -> NDArray[np.float64]:
        """The same along y."""
        return np.asarray(self.stars["Y"], float) - 1

    @cached_property
    def named(self) -> NDArray[np.intp]:
        """Rows of the stars that have a name, by distance from the target."""
        rows = np.flatnonzero(np.asarray(self.stars["STAR"]) != "")
        return rows[np.argsort(np.asarray(self.stars["DISTANCE"])[rows], kind="stable")]

    @property
    def names(self) -> list[str]:
        """Names of these stars."""
        return [str(name) for name in np.asarray(self.stars["STAR"])[self.named]]

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of the point sources: the target's place."""
        places = np.array(list(self.points.values()), float)
        x, y = (places.min(axis=0) + places.max(axis=0)) / 2
        return float(x), float(y)

    @property
    def extent(self) -> float:
        """Largest distance of a point source from the middle [px]."""
        places = np.array(list(self.points.values()), float)
        return float(np.hypot(*(places - self.middle).T).max())

    def meta(self) -> dict[str, Any]:
        """Return the metadata of its table."""
        return {
            "reference": self.frame,
            "set": self.set,
            "ny": self.shape[0],
            "nx": self.shape[1],
            "target": [self.middle[0] + 1, self.middle[1] + 1],
            "point_sources": {name: [x + 1, y + 1] for name, (x, y) in self.points.items()},
            "photometric": dict(self.photometric),
            "empty_box": None if self.box is None else [self.box[0] + 1, self.box[1] + 1, self.box[2]],
            "pixel_scale": _known(self.pixel),
            "seeing_px": _known(self.fwhm),
            "seeings": {name: _known(value) for name, value in self.seeings.items()},
            "automatic": self.automatic,
            "masks": [[x + 1, y + 1, radius] for x, y, radius in self.masks],
            "wcs": dict(self.wcs),
        }

    @classmethod
    def of(cls, table: Table, path: Path) -> TargetReference:
        """Return the reference that a table with its metadata describes.

        Raises
        ------
        TableError
            If metadata are lacking.
        """
        meta, box = table.meta, table.meta.get("empty_box")
        try:
            return cls(
                frame=str(meta["reference"]),
                set=str(meta["set"]),
                shape=(int(meta["ny"]), int(meta["nx"])),
                points={str(n): (float(x) - 1, float(y) - 1) for n, (x, y) in meta["point_sources"].items()},
                photometric={str(k): str(v) for k, v in meta["photometric"].items()},
                box=None if box is None else (float(box[0]) - 1, float(box[1]) - 1, float(box[2])),
                pixel=number(meta.get("pixel_scale")),
                fwhm=number(meta.get("seeing_px")),
                stars=table,
                seeings={str(k): number(v) for k, v in meta.get("seeings", {}).items()},
                automatic=bool(meta.get("automatic", True)),
                masks=tuple((float(x) - 1, float(y) - 1, float(r)) for x, y, r in meta.get("masks", [])),
                wcs=dict(meta.get("wcs", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TableError(
                f"{path}: no table of a reference ({error!r}); remove it by visql lc-thaw, and run again"
            ) from error


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def read_reference(path: Path) -> TargetReference:
    """Read the reference of a target.

    Raises
    ------
    TableError
        If it is missing, or no such table.
    """
    table = read_table(path)
    if lost := sorted(set(REFERENCE.names) - set(table)):
        raise TableError(f"{path}: no table of a reference, without the columns {', '.join(lost)}")
    return TargetReference.of(table, path)


def star_name(number: int) -> str:
    """Return the name of a star: a, b ... z, aa, ab ...; the first is 0."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters
