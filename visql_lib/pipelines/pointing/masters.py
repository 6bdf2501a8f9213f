"""The masters of the guide camera: bias, dark, flat, and which pixels are bad."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.config.load import digest
from visql_lib.errors import ConfigError, FrameError, NoMasterError
from visql_lib.images.image import read_image
from visql_lib.pipelines.pointing.settings import PointingSettings

BIAS, DARK, FLAT, BAD_PIXELS = "pc_master_bias", "pc_master_dark", "pc_master_flat", "pc_badpix_mask"
FOLDER_VARIABLE = "POINTING_CAMERA_META"  # of the environment: their folder, where no setting tells it
_ENDINGS = (".fits", ".fits.gz")


@dataclass(frozen=True)
class GuideMasters:
    """What is taken off and divided by, all of the frame's shape (ny, nx).

    Attributes
    ----------
    bias : array of float32
        adu.
    dark : array of float32
        adu/s.
    flat : array of float32 or None
        Median 1; None: frames are not divided.
    bad : array of bool
        Pixels that the mask names, whose flat is not positive, or that are not finite in one of the three.
    paths : tuple of Path
        Their files.
    digest : str
        Of names, sizes and times of these files: another one means other masters.
    """

    bias: NDArray[np.float32]
    dark: NDArray[np.float32]
    flat: NDArray[np.float32] | None
    bad: NDArray[np.bool_]
    paths: tuple[Path, ...]
    digest: str


def masters_folder(settings: PointingSettings) -> Path:
    """Return the folder of the masters: that of the settings, else of POINTING_CAMERA_META.

    Raises
    ------
    ConfigError
        If nobody names one.
    """
    folder = settings.masters.folder or os.environ.get(FOLDER_VARIABLE, "")
    if not folder:
        raise ConfigError(
            f"no folder of masters: give --calibration, or set masters.folder or {FOLDER_VARIABLE}"
        )
    return Path(folder)


def master_paths(folder: Path, *, flat_field: bool = True) -> tuple[Path, ...]:
    """Find the files of the masters: bias, dark, flat if it is wanted, bad pixels.

    Raises
    ------
    NoMasterError
        If one is not there.
    """
    names = (BIAS, DARK, *((FLAT,) if flat_field else ()), BAD_PIXELS)
    return tuple(_found(folder, name) for name in names)


def _found(folder: Path, name: str) -> Path:
    for ending in _ENDINGS:
        if (path := folder / (name + ending)).is_file():
            return path
    raise NoMasterError(
        f"{folder}: no {name}{_ENDINGS[0]} or {name}{_ENDINGS[1]}; make it with `visql pointing-masters`, "
        "or name another folder"
    )


def digest_of(paths: tuple[Path, ...]) -> str:
    """Return a digest of names, sizes and times of files.

    Raises
    ------
    NoMasterError
        If one has gone.
    """
    told = []
    for path in paths:
        try:
            stat = path.stat()
        except OSError as error:
            raise NoMasterError(f"{path}: cannot be read ({error.strerror}); make it again") from error
        told.append(f"{path.name} {stat.st_size} {stat.st_mtime_ns}")
    return digest(*told)


def load_masters(folder: Path, shape: tuple[int, int], *, flat_field: bool = True) -> GuideMasters:
    """Read the masters of a folder: each the first image of its file.

    Parameters
    ----------
    folder : Path
    shape : (int, int)
        Rows and columns of the camera.
    flat_field : bool, optional
        Whether frames are divided by the flat; otherwise none is needed.

    Raises
    ------
    NoMasterError
        If one is not there.
    FrameError
        If one cannot be read, or is of another shape.
    """
    paths = master_paths(folder, flat_field=flat_field)
    told = digest_of(paths)
    bad = _image(paths[-1], shape) != 0  # NaN, too
    images = [_image(path, shape) for path in paths[:-1]]
    bias, dark, *flats = images
    for image in images:
        bad |= ~np.isfinite(image)
    flat = flats[0] if flats else None
    if flat is not None:
        bad |= ~(flat > 0)
    return GuideMasters(bias, dark, flat, bad, paths, told)


def _image(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        pixels = read_image(path).data
    except FrameError as error:
        raise FrameError(f"{error}; make it again") from error
    if pixels.shape != shape:
        found = " x ".join(str(n) for n in reversed(pixels.shape))
        raise FrameError(
            f"{path}: {found} pixels, not {shape[1]} x {shape[0]}; take the masters of this camera"
        )
    return np.ascontiguousarray(pixels)
