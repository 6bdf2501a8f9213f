"""The map of a frame's sky as a small FITS file: its meshes, and the numbers that belong to them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from visql_lib import run_record
from visql_lib.errors import FrameError
from visql_lib.images.writing import write_hdus
from visql_lib.sources.sky_map import SkyMap
from visql_lib.tables.provenance import checksum_of

_CARDS = {
    "MESH": "[px] side of a mesh",
    "NX": "[px] columns of the frame",
    "NY": "[px] rows of the frame",
    "SKY": "[electron] median of the map",
    "RMS": "[electron] noise of a pixel of the background",
}


def write_sky(path: Path, sky: SkyMap, stages: Mapping[str, int], name: str = "") -> None:
    """Write a map of the sky: float64 levels of the meshes [electron].

    Parameters
    ----------
    path : Path
        Written under a temporary name and renamed.
    sky : SkyMap
    stages : mapping
        The stages that made it, with their versions.
    name : str, optional
        Of the frame.
    """
    hdu = fits.PrimaryHDU(np.asarray(sky.nodes, dtype=np.float64))
    values = (sky.mesh, sky.shape[1], sky.shape[0], sky.sky, sky.rms)
    for (key, comment), value in zip(_CARDS.items(), values, strict=True):
        known = value if np.isfinite(value) else None
        hdu.header[key] = (known, comment)
    hdu.header["BUNIT"] = "electron"
    hdu.header["FRAME"] = (name[:60], "name of the frame")
    write_hdus(path, fits.HDUList([hdu]), stages)


def read_sky(path: Path) -> SkyMap:
    """Read a map of the sky.

    Raises
    ------
    FrameError
        If it is none, or cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, memmap=False) as hdus:
                nodes, header = np.array(hdus[0].data, dtype=float), hdus[0].header
        missing = next((key for key in _CARDS if key not in header), "")
        if missing or nodes.ndim != 2:
            raise FrameError(f"{path}: no map of a sky ({missing or 'no image'}); make it again")
        mesh, nx, ny = (int(header[key]) for key in ("MESH", "NX", "NY"))
        sky, rms = (np.nan if header[key] is None else float(header[key]) for key in ("SKY", "RMS"))
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise FrameError(f"{path}: cannot be read as a map of a sky ({error})") from error
    run_record.current().read(path, checksum_of(path))
    return SkyMap(nodes, mesh, (ny, nx), sky, rms)
