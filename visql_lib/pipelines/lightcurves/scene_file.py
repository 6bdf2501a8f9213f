"""The FITS files of a target's scene: the choice (``scene_SET.fits``), what was fitted (``target_SET.fits``).

Both have for each decomposition, numbered by EXTVER from 1: the extension IMAGE with the image of galaxy and
ring on the pixels of the reference (electrons of the reference per pixel) and all numbers in its header, and
the table SOURCES. ``target_SET.fits`` has COVARIANCE, DECONVOLVED and RESIDUAL besides. Places are one-based.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.photometry.scene_image import NodeGrid
from visql_lib.photometry.scene_model import Core, Scene
from visql_lib.tables.fits import table_hdu
from visql_lib.tables.schema import Column, TableSchema

IMAGE, SOURCES, COVARIANCE = "IMAGE", "SOURCES", "COVARIANCE"
DECONVOLVED, RESIDUAL = "DECONVOLVED", "RESIDUAL"

PLACES = TableSchema(
    "sources",
    "The point sources of a scene, then stars beside it.",
    (
        Column("SOURCE", "str", "", 'name; "" for a star beside the target'),
        Column("X", "float64", "px", "x in the reference frame, one-based"),
        Column("Y", "float64", "px", "y in the reference frame, one-based"),
        Column("X_ERR", "float64", "px", "error of x, with that of a shift of all frames; NaN: kept"),
        Column("Y_ERR", "float64", "px", "error of y"),
        Column("FREE", "bool", "", "its place was fitted"),
        Column("FLUX", "float64", "electron", "median flux, in the reference's electrons; NaN: not known"),
    ),
)


@dataclass(frozen=True)
class ScenePlane:
    """A picture that goes with a scene: its pixels, and where they lie in the reference.

    Parameters
    ----------
    pixels : array, shape (ny, nx)
    first : tuple of float
        One-based place (x, y) of the first pixel in the reference.
    pitch : float
        Size of a pixel [px of the reference].
    unit : str
    """

    pixels: NDArray
    first: tuple[float, float]
    pitch: float
    unit: str


@dataclass(frozen=True)
class NamedScene:
    """A scene of a target as files keep it.

    Parameters
    ----------
    name : str
        Name of the decomposition; "": the target's own.
    sources : tuple of str
        Names of the point sources.
    scene : Scene
    flux : array, shape (K + N,)
        Median fluxes [e- of the reference]; NaN: not known.
    chi2 : float
        Median chi^2 per pixel of the frames.
    n_frames : int
        Frames of the fit.
    notes : tuple of str
        What is odd about it.
    planes : mapping
        Further pictures, by EXTNAME.
    """

    name: str
    sources: tuple[str, ...]
    scene: Scene
    flux: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    chi2: float = math.nan
    n_frames: int = 0
    notes: tuple[str, ...] = ()
    planes: Mapping[str, ScenePlane] = field(default_factory=dict)


def write_scenes(
    path: Path,
    scenes: Sequence[NamedScene],
    facts: Mapping[str, Any],
    stages: Mapping[str, int],
    inputs: Iterable[Path] = (),
    covariance: bool = True,
) -> None:
    """Write the scenes of a target and set.

    Parameters
    ----------
    path : Path
        Written under a temporary name and renamed.
    scenes : sequence of NamedScene
        The target's own first.
    facts : mapping
        Cards of the primary header, such as TARGET and SET.
    stages, inputs : mapping, iterable of Path
        For its record.
    covariance : bool
        Write the covariances, too.
    """
    from visql_lib.images.writing import write_hdus

    primary = fits.PrimaryHDU()
    primary.header.update({**facts, "NSCENES": len(scenes)})
    hdus = fits.HDUList([primary])
    for number, named in enumerate(scenes, start=1):
        hdus.append(_image_hdu(named, number))
        hdus.append(_sources_hdu(named, number))
        if covariance and named.scene.covariance.size:
            packed = named.scene.covariance.astype(np.float32)
            hdus.append(fits.ImageHDU(packed, name=COVARIANCE, ver=number))
        for name, plane in named.planes.items():
            hdu = fits.ImageHDU(plane.pixels.astype(np.float32), name=name, ver=number)
            _place(hdu.header, plane)
            hdus.append(hdu)
    write_hdus(path, hdus, stages, inputs)


def _place(header: fits.Header, plane: ScenePlane) -> None:
    """Tell in a header where the pixels lie in the reference."""
    header["BUNIT"] = plane.unit
    for axis, name, first in ((1, "XREF", plane.first[0]), (2, "YREF", plane.first[1])):
        header[f"CTYPE{axis}"] = (name, "pixel of the reference, one-based")
        header[f"CRPIX{axis}"] = 1.0
        header[f"CRVAL{axis}"] = first
        header[f"CDELT{axis}"] = plane.pitch


def _image_hdu(named: NamedScene, number: int) -> fits.ImageHDU:
    scene = named.scene
    pixels = scene.grid.image(scene.nodes) if len(scene.nodes) else None
    hdu = fits.ImageHDU(pixels, name=IMAGE, ver=number)
    header, grid, core = hdu.header, scene.grid, scene.core
    if pixels is not None:
        first = (grid.centre[0] - grid.radius + 1.0, grid.centre[1] - grid.radius + 1.0)
        _place(header, ScenePlane(pixels, first, 1.0, "electron"))
    header["FIT"] = (named.name, "name of the decomposition")
    header["XCENTRE"] = (grid.centre[0] + 1, "[px] middle in the reference, one-based")
    header["YCENTRE"] = grid.centre[1] + 1
    header["RADIUS"] = (grid.radius, "[px] of the image")
    header["HALF"] = (scene.half, "[px] pixels so far from the middle are fitted")
    header["NSOURCE"] = (scene.n_sources, "point sources of the target")
    if np.isfinite(scene.smoothness):
        header["SMOOTH"] = (scene.smoothness, "lambda: weight of the squared Laplacian")
    header["CORE"] = (core is not None, "whether the galaxy has a core")
    if core is not None:
        header["XCORE"] = (core.x + 1, "[px] its place in the reference, one-based")
        header["YCORE"] = core.y + 1
        header["FCORE"] = (core.flux, "[electron] its flux")
    if np.isfinite(named.chi2):
        header["CHI2"] = (named.chi2, "median chi^2 per pixel")
    header["NFRAMES"] = (named.n_frames, "frames of the fit")
    for note in named.notes:
        header.add_history(note)
    return hdu


def _sources_hdu(named: NamedScene, number: int) -> fits.BinTableHDU:
    scene = named.scene
    count, n = len(scene.positions), len(scene.nodes)
    errors = np.full((count, 2), np.nan)
    if scene.covariance.size:
        sigma = np.sqrt(np.diag(scene.covariance)[n : n + scene.places_free])
        errors[scene.free] = sigma.reshape(-1, 2)
    columns = {
        "SOURCE": np.array([*named.sources, *[""] * (count - len(named.sources))]),
        "X": scene.positions[:, 0] + 1,
        "Y": scene.positions[:, 1] + 1,
        "X_ERR": errors[:, 0],
        "Y_ERR": errors[:, 1],
        "FREE": scene.free,
        "FLUX": named.flux if len(named.flux) == count else np.full(count, np.nan),
    }
    hdu = table_hdu(columns, PLACES, SOURCES)
    hdu.ver = number
    return hdu


def read_scenes(path: Path) -> tuple[NamedScene, ...]:
    """Read the scenes of a target and set, without pictures.

    Raises
    ------
    TableError
        If the file is none of ours, or broken.
    """
    from visql_lib import run_record

    try:
        with fits.open(path, memmap=False) as hdus:
            count = int(hdus[0].header["NSCENES"])
            scenes = tuple(_read_scene(hdus, number) for number in range(1, count + 1))
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise TableError(
            f"{path}: not a file of scenes ({error}); make it again by visql lc-scene"
        ) from error
    run_record.current().read(path, "")  # its checksum is looked up where a record is written
    return scenes


def _read_scene(hdus: fits.HDUList, number: int) -> NamedScene:
    image, table = hdus[IMAGE, number], hdus[SOURCES, number].data
    header = image.header
    grid = NodeGrid((int(header["XCENTRE"]) - 1, int(header["YCENTRE"]) - 1), int(header["RADIUS"]))
    nodes = np.empty(0) if image.data is None else np.asarray(image.data, float)[grid.inside]
    core = None
    if header["CORE"]:
        core = Core(header["XCORE"] - 1, header["YCORE"] - 1, header["FCORE"])
    places = np.stack([np.asarray(table["X"], float), np.asarray(table["Y"], float)], 1) - 1
    covariance = np.empty((0, 0))
    if (COVARIANCE, number) in hdus:
        covariance = np.asarray(hdus[COVARIANCE, number].data, float)
    scene = Scene(
        places,
        int(header["NSOURCE"]),
        np.asarray(table["FREE"], bool),
        grid,
        nodes,
        core,
        float(header.get("SMOOTH", math.nan)),
        covariance,
        int(header["HALF"]),
    )
    names = tuple(str(name).strip() for name in table["SOURCE"])[: scene.n_sources]
    flux = np.asarray(table["FLUX"], float)
    chi2 = float(header.get("CHI2", math.nan))
    notes = tuple(str(line) for line in header.get("HISTORY", []))
    return NamedScene(str(header["FIT"]), names, scene, flux, chi2, int(header["NFRAMES"]), notes)
