"""The files of a simulated season: raw frames of its camera, and the file of its target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from visql_lib.simulate.season import Season
from visql_lib.simulate.season_camera import SeasonCamera
from visql_lib.simulate.season_frame import MadeSeasonFrame

KEPT_OF_CUT = 0.55  # of the bytes of a file that is cut short
_MARKED = 0.25  # px, rms: how well a person marks a point source on a frame


def raw_folder_of(season: Season, folder: Path) -> Path:
    """Return the folder of the raw frames of the season's set."""
    return folder / "raw" / season.options.set


def write_frame(made: MadeSeasonFrame, camera: SeasonCamera, path: Path) -> None:
    """Write a frame; one that is cut short ends in the middle."""
    hdus: fits.HDUList = camera.hdus(made.exposure, made.data)
    hdus.writeto(path, overwrite=True)
    if made.exposure.fault == "cut_short":
        content = path.read_bytes()
        path.write_bytes(content[: int(KEPT_OF_CUT * len(content))])


def target_content(season: Season, camera_name: str) -> dict[str, Any]:
    """Return what the target's file says, as a person would write it who has looked at one frame.

    Places are marked on the sharpest good frame, to a quarter of a pixel.
    """
    options, target = season.options, season.options.target
    good = [frame for frame in season.frames if not frame.fault]
    on = min(good or season.frames, key=lambda frame: frame.psf.fwhm)
    rng = np.random.default_rng([options.seed, 56])
    x, y = np.array(on.place(*season.places.T)) + 1 + rng.normal(0, _MARKED, season.places.T.shape)
    marked = {
        name: {"x": round(float(a), 1), "y": round(float(b), 1)}
        for name, a, b in zip(season.images, x, y, strict=True)
    }
    has_light = target.galaxy is not None or target.ring is not None
    return {
        "name": target.name,
        "ra": target.ra,
        "dec": target.dec,
        "sets": {
            options.set: {"camera": camera_name, "raw": f"../raw/{options.set}", "filter": options.filter}
        },
        "on": on.name,
        "point_sources": marked,
        "galaxy": {"image": has_light, "core": "auto" if target.galaxy is not None else "none"},
    }
