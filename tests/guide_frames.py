"""Small frames of a guide camera like the real one, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.io import fits
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
COLUMNS, ROWS = 320, 240
SHAPE = (ROWS, COLUMNS)
NAME = "20210611.221335.00012_20000.fits"
SCALE = 8.6 / 3600  # deg/px
MJD = 59377.0 + (5 * 3600 + 13 * 60 + 35) / 86400  # UTC, of DATE and TIME
CARDS = {
    "EXPOSURE": 20000,
    "DATE": "2021/06/11",
    "TIME": "22:13:35",
    "MJD-OBS": MJD + 37 / 86400,
    "ZPFLAG": 0,
    "DEV_FNUM": 12,
    "RADEG": 200.0,
    "DECDEG": 30.0,
    "REAL_RA": 200.01,
    "REAL_DEC": 30.02,
    "HA": -12.5,
    "DEC": 30.5,
    "AIRMASS": 1.25,
}


def camera_file(folder: Path, **changes: Any) -> str:
    """Write the file of a camera like the real one, but of 320 x 240 pixels; groups of facts may be changed."""
    facts = yaml.safe_load((ROOT / "config/instruments/pointing_camera.yaml").read_text(encoding="utf-8"))
    small = {"columns": COLUMNS, "rows": ROWS, "split_x": (COLUMNS - 1) / 2, "split_y": (ROWS - 1) / 2}
    small |= {"science_radius": 65.0, "shift_radius": 200.0}
    for name, value in small.items():
        facts["guide"][name]["value"] = value
    path = folder / "camera.yaml"
    path.write_text(yaml.safe_dump(facts | changes), encoding="utf-8")
    return str(path)


def wcs_cards(shape: tuple[int, int] = SHAPE, **changes: Any) -> dict[str, Any]:
    """Return a TAN WCS whose reference is the frame's centre; None takes a card away."""
    rows, columns = shape
    cards = {
        **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 200.0, "CRVAL2": 30.0},
        **{"CRPIX1": (columns + 1) / 2, "CRPIX2": (rows + 1) / 2},
        **{"CD1_1": -SCALE, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": SCALE},
    }
    return {key: value for key, value in (cards | changes).items() if value is not None}


def pixels(shape: tuple[int, int] = SHAPE) -> NDArray[np.uint16]:
    """Return pixels of 16 bits, some of them above the range of signed ones."""
    values = np.random.default_rng(7).integers(0, 65536, shape, dtype=np.uint16)
    values[0, :3] = (0, 32768, 65535)
    return values


def write_frame(
    path: Path, image: NDArray | None = None, wcs: Mapping[str, Any] | None = None, **cards: Any
) -> Path:
    """Write a raw frame, packed as its name says, and the file with its WCS unless that is {}.

    Other keywords are cards, with _ for -; None takes a card away.
    """
    image = pixels() if image is None else image
    told = CARDS | {key.replace("_OBS", "-OBS"): value for key, value in cards.items()}
    header = fits.Header({key: value for key, value in told.items() if value is not None}.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".fz"):
        packed = fits.CompImageHDU(image, header)
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path, overwrite=True)
    else:
        fits.PrimaryHDU(image, header).writeto(path, overwrite=True)
    if wcs != {}:
        stem = path.name.split(".fits")[0]
        cards_of_wcs = fits.Header((wcs_cards() if wcs is None else wcs).items())
        fits.PrimaryHDU(header=cards_of_wcs).writeto(path.with_name(f"{stem}.wcs"), overwrite=True)
    return path
