"""The stars of a frame for its PSF: from the file of stamps, by name; which make the PSF of a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.errors import ConfigError, TableError
from visql_lib.pipelines.lightcurves.settings import PSFSettings
from visql_lib.pipelines.lightcurves.stamps import Stamps
from visql_lib.pipelines.lightcurves.target_file import AUTO, Target
from visql_lib.psf.star_stamps import StarStamp
from visql_lib.psf.surface_fit import SurfaceOptions
from visql_lib.tables.store import Table, read_table

COSMIC, SATURATED, NEIGHBOUR = 2, 4, 8  # bits of `Stamps.bad`


@dataclass(frozen=True)
class PSFChoice:
    """The stars that make a PSF, and whether it changes over the frame.

    Parameters
    ----------
    name : str
        PSF set of the target's file, or auto.
    stars : tuple of str
    gradient : bool
    """

    name: str
    stars: tuple[str, ...]
    gradient: bool

    def fact(self) -> dict[str, Any]:
        """Return it as records keep it."""
        return {"name": self.name, "stars": list(self.stars), "gradient": self.gradient}


def surface_options(settings: PSFSettings) -> SurfaceOptions:
    """Return the options of the fit."""
    return SurfaceOptions(settings.prior, settings.rounds, settings.clip, settings.clip_share)


def star_of(stamps: Stamps, name: str) -> StarStamp | None:
    """Return a star's stamp as the fits take it; None: the frame has none of it."""
    k = stamps.index(name)
    if k < 0:
        return None
    data, flags = np.asarray(stamps.data[k], float), stamps.bad[k]
    bad = (flags != 0) | ~np.isfinite(data) | ~np.isfinite(stamps.sigma[k])
    return StarStamp(
        name=name,
        data=data,
        bad=bad,
        x0=int(stamps.x0[k]),
        y0=int(stamps.y0[k]),
        x=float(stamps.x[k]),
        y=float(stamps.y[k]),
        rms=float(stamps.rms),
        saturated=(flags & SATURATED) != 0,
    )


def stars_of(stamps: Stamps, names: Sequence[str]) -> list[StarStamp]:
    """Return those of the named stars that the frame has stamps of."""
    found = (star_of(stamps, name) for name in names)
    return [star for star in found if star is not None]


def has_cosmic(stamps: Stamps, name: str, fwhm: float) -> bool:
    """Tell whether a pixel within a FWHM of a star is masked as hit by a cosmic ray."""
    k = stamps.index(name)
    y, x = np.nonzero(stamps.bad[k] & COSMIC)
    near = np.hypot(x + stamps.x0[k] - stamps.x[k], y + stamps.y0[k] - stamps.y[k]) <= fwhm
    return bool(near.any())


def psf_set_stars(target: Target, stars: Table, path: Path) -> dict[str, tuple[str, ...]]:
    """Return the stars of each PSF set of a target, in the order of its file.

    Raises
    ------
    ConfigError
        If the target's file names a star that there is not.
    """
    known = [str(name) for name in stars["STAR"]]
    chosen = tuple(name for name, psf in zip(known, stars["PSF"], strict=True) if psf)
    out = {}
    for name, wanted in target.psf_sets.items():
        if wanted == AUTO:
            out[name] = chosen
            continue
        if lacking := [star for star in wanted if star not in known]:
            raise ConfigError(
                f"{target.file or target.name}: psf_sets: {name}: there is no star {lacking[0]!r}; "
                f"{path.name} has {' '.join(known)}"
            )
        out[name] = tuple(dict.fromkeys(wanted))
    return out


def read_choices(path: Path) -> tuple[PSFChoice, ...]:
    """Read the frozen choice of a set: its PSF sets, in the order of the target's file.

    Raises
    ------
    TableError
        If there is none in the table.
    """
    table = read_table(path)
    if not len(table["PSF_SET"]):
        raise TableError(f"{path}: names no PSF stars; let it be chosen anew by visql lc-thaw")
    rows = zip(table["PSF_SET"], table["STARS"], table["GRADIENT"], strict=True)
    return tuple(PSFChoice(str(name), tuple(str(stars).split()), bool(g)) for name, stars, g in rows)


def star_names(table: Mapping[str, Any]) -> list[str]:
    """Return the stars that are measured in every frame: those that serve, and those that might."""
    return [str(name) for name in table["STAR"]]
