"""SExtractor with the settings of our catalogue, on raw frames and on images."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.config import CatalogSettings

SATURATION = 50000.0  # ADU
PARAMETERS = (
    "X_IMAGE",
    "Y_IMAGE",
    "FLUX_AUTO",
    "FLUXERR_AUTO",
    "FLUX_RADIUS",
    "A_IMAGE",
    "B_IMAGE",
    "THETA_IMAGE",
    "FLAGS",
    "THRESHOLD",
)


@dataclass(frozen=True)
class Reference:
    """SExtractor's catalogue of an image, cut like ours, and the median of its background [ADU]."""

    columns: dict[str, NDArray]
    background: float


def program() -> str | None:
    """Return SExtractor's path, None where it is not installed (Debian: source-extractor)."""
    return shutil.which("source-extractor") or shutil.which("sex")


def version() -> str:
    """Return SExtractor's version, or that there is none."""
    path = program()
    if path is None:
        return "not installed"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return said.partition("version ")[2].split()[0]


def options(settings: CatalogSettings) -> dict[str, str | float]:
    """Return SExtractor's settings that are ours."""
    return {
        "CATALOG_NAME": "out.fits",
        "CATALOG_TYPE": "FITS_1.0",
        "PARAMETERS_NAME": "out.param",
        "DETECT_MINAREA": settings.min_area,
        "DETECT_THRESH": settings.threshold,
        "ANALYSIS_THRESH": settings.threshold,
        "FILTER": "Y",
        "FILTER_NAME": "pyramid.conv",
        "DEBLEND_NTHRESH": settings.deblend_levels,
        "DEBLEND_MINCONT": settings.deblend_contrast,
        "CLEAN": "Y",
        "CLEAN_PARAM": settings.clean,
        "MASK_TYPE": "CORRECT",
        "PHOT_FLUXFRAC": 0.5,
        "PHOT_AUTOPARAMS": f"{settings.kron_factor},{settings.kron_min_radius}",
        "SATUR_LEVEL": SATURATION,
        "GAIN": 0,
        "BACK_SIZE": settings.mesh,
        "BACK_FILTERSIZE": settings.mesh_filter,
        "BACKPHOTO_TYPE": "GLOBAL",
        "MEMORY_PIXSTACK": 3000000,
        "VERBOSE_TYPE": "QUIET",
    }


def command(frame: Path, settings: CatalogSettings, folder: Path) -> list[str | Path]:
    """Write the small files SExtractor wants into a folder; return how to run it there on a frame."""
    path = program()
    if path is None:
        raise FileNotFoundError("SExtractor is not installed (Debian: source-extractor)")
    (folder / "out.param").write_text("\n".join(PARAMETERS))
    (folder / "pyramid.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    (folder / "default.sex").write_text("")
    words = (str(word) for key, value in options(settings).items() for word in (f"-{key}", value))
    return [path, frame, "-c", "default.sex", *words]


def measure(image: NDArray, settings: CatalogSettings) -> Reference:
    """Run SExtractor on an image [ADU, axis order (y, x)]."""
    import numpy as np
    from astropy.io import fits

    with TemporaryDirectory() as name:
        folder = Path(name)
        fits.PrimaryHDU(image.astype(np.float32)).writeto(folder / "image.fits")
        check = ["-CHECKIMAGE_TYPE", "BACKGROUND", "-CHECKIMAGE_NAME", "background.fits"]
        subprocess.run([*command(Path("image.fits"), settings, folder), *check], cwd=folder, check=True)
        table = fits.getdata(folder / "out.fits", 1)
        columns = {name: np.array(table[name], dtype=float) for name in PARAMETERS}
        background = float(np.median(fits.getdata(folder / "background.fits")))
    radius = columns["FLUX_RADIUS"]
    keep = (columns["FLUX_AUTO"] > 0) & (radius > 0) & (radius < settings.max_flux_radius)
    return Reference({name: column[keep] for name, column in columns.items()}, background)
