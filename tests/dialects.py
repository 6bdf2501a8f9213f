"""Small frames whose headers are written as real cameras write them: keywords and forms, no pixels of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

SKY, BIAS = 300.0, 200.0  # ADU
STARS = ((30.25, 12.5), (61.0, 25.75), (80.5, 15.0))  # one-based (x, y) in the image section
FLUX, SIGMA = 20000.0, 1.5  # ADU, px

_LDT = {
    "CTYPE1": "Linear Unbinned ADC Pixels", "CRPIX1": 51.0, "CRVAL1": 1.0, "CRDELT1": 1.0,
    "CTYPE2": "Linear Unbinned ADC Pixels", "OBJECT": "        ", "OBJNAME": "        ", "OBSTYPE": "COMPARISON",
    "IMAGETYP": "COMPARISON", "DATE": "2025-02-03T08:12:09.97", "DATE-OBS": "2025-02-03T08:12:09.97",
    "EXPTIME": 15.0, "UT": "08:12:09.97", "TRIMSEC": "[11:110,5:44]", "BIASSEC": "[113:128,5:44]", "AMPID": "A       ",
    "CCDSUM": "1 1     ", "GAIN": 1.52, "RDNOISE": 4.9, "AIRMASS": 1.0, "RA": "10:42:48.460", "DEC": "-02:11:07.10",
}  # fmt: skip
_SAAO = {
    "DATE-OBS": "2013-07-13", "OBJECT": "rf0420                    ", "IMAGETYP": "object    ", "FILTERS": 48,
    "RA": " 22:04:08", "DEC": "-00:55:31", "RA_OBS": 331.0334, "DEC_OBS": -0.9253, "UT": "00:57:33", "EXPTIME": 150.04,
    "SECZ": 1.176, "TRIMSEC": "[  17: 116,   1:  40]", "BIASSEC": "[   4:  13,   1:  40]", "GAIN": 1.9, "RDNOISE": 5.0,
    "CCD-TEMP": 180.2, "MJD-OBS": 56486.0,
}  # fmt: skip
_MAXIM = {
    "DATE-OBS": "2013-10-16T06:46:34", "EXPTIME": 90.0, "EXPOSURE": 90.0, "CCD-TEMP": -40.007286, "XBINNING": 1,
    "YBINNING": 1, "FILTER": "B       ", "IMAGETYP": "LIGHT   ", "OBJECT": "ngc-6946", "OBJCTRA": "20 34 56",
    "OBJCTDEC": "+60 07 15", "JD": 2456581.7823379631, "AIRMASS": 1.4496400175438251, "PEDESTAL": 0,
}  # fmt: skip
_SBIG = {
    "OBJECT": "        ", "DATE-OBS": "2013-01-28T03:08:12.000", "EXPTIME": 10.0, "CCD-TEMP": 4.455891600369,
    "XBINNING": 1, "YBINNING": 1, "EGAIN": 1.74, "PEDESTAL": -100, "DATAMAX": 65535, "FILTER": "None    ",
    "DATE": "2013-01-28",
}  # fmt: skip
_ASTROFX = {
    "DATE-OBS": "2016-06-29T04:58:11", "EXPTIME": 60.0, "EXPOSURE": 60.0, "CCD-TEMP": -5.94, "XBINNING": 1,
    "YBINNING": 1, "IMAGETYP": "LIGHT   ", "OBJECT": "Mette ", "SWCREATE": "Celestron AstroFX V1.06",
}  # fmt: skip

# Dialect: instrument file, cards, (x0, x1, y0, y1) of image and overscan (zero-based), rows and columns.
IMAGE, NONE = (0, 100, 0, 40), None
DIALECTS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...] | None, tuple[int, int]]] = {
    "ldt": ("ldt_deveny", _LDT, (10, 110, 4, 44), (112, 128, 4, 44), (46, 130)),
    "saao": ("saao_ste3", _SAAO, (16, 116, 0, 40), (3, 13, 0, 40), (40, 120)),
    "maxim": ("maxim", _MAXIM, IMAGE, NONE, (40, 100)),
    "sbig": ("maxim", _SBIG, IMAGE, NONE, (40, 100)),
    "astrofx": ("maxim", _ASTROFX, IMAGE, NONE, (40, 100)),
}


def camera_file(name: str) -> str:
    """Return the instrument of a dialect: a name in config/instruments, or a path in tests/instruments."""
    path = Path(__file__).parent / "instruments" / f"{name}.yaml"
    return str(path) if path.is_file() else name


def image_of(
    shape: tuple[int, int], stars: Any, level: float, rng: np.random.Generator
) -> NDArray[np.floating]:
    """Return a sky with round stars at one-based positions (x, y)."""
    y, x = np.indices(shape) + 1.0
    image = rng.normal(level, 4.0, shape)
    for at_x, at_y in stars:
        image += FLUX / (2 * np.pi * SIGMA**2) * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * SIGMA**2))
    return image


def pixels_of(dialect: str) -> NDArray[np.floating]:
    """Return the pixels of a dialect's frame [ADU]: bias everywhere, sky and stars in the image section."""
    _, _, image, bias, shape = DIALECTS[dialect]
    rng = np.random.default_rng(1)
    pixels = rng.normal(BIAS, 3.0, shape)
    x0, x1, y0, y1 = image
    pixels[y0:y1, x0:x1] = image_of((y1 - y0, x1 - x0), STARS, SKY + (BIAS if bias else 0.0), rng)
    return pixels


def write_frame(dialect: str, path: Path, bitpix: str = "uint16", **changes: Any) -> Path:
    """Write a frame of a dialect; ``bitpix``: type of its pixels in astropy's words."""
    hdu = fits.PrimaryHDU(np.rint(pixels_of(dialect)).astype(bitpix))
    for key, value in (DIALECTS[dialect][1] | changes).items():
        if value is None:
            hdu.header.remove(key, ignore_missing=True)
        else:
            hdu.header[key] = value
    hdu.writeto(path)
    return path
