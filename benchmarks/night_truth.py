"""What a simulated night was made of, and its products: for `night_compare.py`.

Nothing the pipeline measures with is used here; what the night was made of comes from
`visql_lib.simulate.night`, what became of it from the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from visql_lib.simulate.night import SimulatedNight
from visql_lib.simulate.night_frames import NightFrame
from visql_lib.simulate.night_headers import file_name
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.simulate.night_sky import add_stars


class Product(NamedTuple):
    """A FITS product: arrays of shape (ny, nx), NaN where there is no value."""

    data: NDArray
    err: NDArray
    mask: NDArray
    header: fits.Header
    more: dict[str, NDArray]


def product(path: Path) -> Product:
    """Read a product."""
    with fits.open(path) as hdus:
        images = {
            h.name: np.asarray(h.data, np.float64) for h in hdus[1:] if h.data is not None and h.is_image
        }
        data = np.asarray(hdus[0].data, np.float64)
        nothing = np.full(data.shape, np.nan)
        mask = images.pop("MASK", np.zeros(data.shape)).astype(int)
        return Product(data, images.pop("ERR", nothing), mask, hdus[0].header.copy(), images)


def filter_of(one: Product) -> str:
    """Return the filter of a product."""
    return str(one.header.get("FILTER", one.header.get("FILTERS"))).strip()


class Truth:
    """What a night was made of, and its products in a folder ``results/nights/NIGHT``."""

    def __init__(self, options: NightOptions, raw: Path, night: Path) -> None:
        self.made, self.raw, self.night = SimulatedNight(options), raw, night
        self.options, self.chip = options, self.made.chip
        self.frames = {Path(file_name(options, frame)).stem: frame for frame in self.made.frames}

    @cached_property
    def good(self) -> NDArray[np.bool_]:
        """Pixels that are not bad in any way."""
        chip = self.chip
        return ~(chip.hot | chip.dead | chip.column | chip.nonlinear)

    @cached_property
    def cosmics(self) -> dict[str, NDArray]:
        """Exposure -> pixels (y, x) hit by cosmic rays."""
        table = Table.read(self.raw.parent / "truth" / "cosmics.parquet")
        names = np.array([Path(str(name)).stem for name in table["FILE"]])
        places = np.column_stack([table["Y"], table["X"]]).astype(int)
        return {name: places[names == name] for name in self.frames}

    def masters(self, kind: str) -> Iterator[Product]:
        """Read the masters of a kind."""
        for path in sorted((self.night / "masters").glob("*.fits")):
            if fits.getheader(path).get("VISQLTYP") == kind:
                yield product(path)

    @cached_property
    def flat_scale(self) -> dict[str, float]:
        """Filter -> mean of the master flat over the true one: whose mean is 1 is a convention."""
        found = {}
        for flat in self.masters("MASTER FLAT"):
            name = filter_of(flat)
            found[name] = float(np.nanmean((flat.data / self.chip.flats[name])[self.good & (flat.mask == 0)]))
        return found

    def scale(self, name: str) -> float:
        """Return ADU of a reduced light per photon, in a filter."""
        good = ~(self.chip.dead | self.chip.column)
        return float((self.chip.response[name] / self.chip.gain)[good].mean()) / self.flat_scale[name]

    def stars(self, frame: NightFrame, onto: NightFrame | None = None) -> NDArray:
        """Return the stars' light [ADU, reduced] of a frame, on its pixels or on those of another one."""
        light = np.zeros(self.chip.bias.shape)
        field, pointing = self.made.fields[frame.target], (onto or frame).pointing
        assert pointing is not None
        add_stars(light, *pointing.pixels(field.x, field.y), self.fluxes(frame), frame.fwhm)
        return light

    def fluxes(self, frame: NightFrame) -> NDArray:
        """Return the stars' fluxes [ADU, reduced]."""
        flux = self.made.fields[frame.target].flux[frame.filter]
        return flux * frame.transparency * frame.exptime * self.scale(frame.filter)

    def sky(self, frame: NightFrame, onto: NightFrame | None = None) -> NDArray:
        """Return the light of the sky [ADU, reduced] of a frame, on its pixels or on those of another."""
        ny, nx = self.chip.bias.shape
        y, x = np.mgrid[:ny, :nx].astype(float)
        if onto is not None:
            x, y = mapped(onto, frame, x, y)
        slope = frame.slope[0] * (x / (nx - 1) - 0.5) + frame.slope[1] * (y / (ny - 1) - 0.5)
        return frame.sky * (1 + slope) * frame.exptime * self.scale(frame.filter)


def mapped(one: NightFrame, other: NightFrame, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
    """Return where pixels of one frame lie in another, by their true pointings."""
    a, b = one.pointing, other.pointing
    assert a is not None
    assert b is not None
    from_centre = np.array([np.ravel(x - a.centre[0] - a.shift[0]), np.ravel(y - a.centre[1] - a.shift[1])])
    u, v = b.pixels(*(a.matrix.T @ from_centre))
    return u.reshape(np.shape(x)), v.reshape(np.shape(x))
