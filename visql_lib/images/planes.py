"""The planes of images, for pictures: without what is masked, with their places and titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import FrameError, RequestError
from visql_lib.images.image import Image, read_image
from visql_lib.images.regions import Region


@dataclass(frozen=True)
class Plane:
    """One plane.

    Parameters
    ----------
    values : array of float32, shape (ny, nx)
        NaN where masked.
    title : str
        What it is called in a picture.
    unit : str
        BUNIT, or "".
    corner : (int, int)
        x and y of its lower left pixel, from 1.
    number : int
        Of the plane in its cube, from 1; 0 of an image that is no cube.
    """

    values: NDArray[np.float32]
    title: str
    unit: str
    corner: tuple[int, int]
    number: int = 0


class PlaneReader:
    """Reads the planes of files, the last file once only.

    Parameters
    ----------
    region : Region, optional
        The part that is wanted of each file.
    title : str, optional
        ``file`` (its name), ``object`` (OBJECT of its header, else its name), ``none``, or a text.
    """

    def __init__(self, region: Region | None = None, title: str = "file") -> None:
        self._region = region
        self._title = title
        self._last: tuple[Path, list[Plane]] | None = None

    def planes(self, path: Path) -> list[Plane]:
        """Read the planes of a file.

        Raises
        ------
        FrameError
            If it cannot be read, has more than three axes, or the region is not within it.
        """
        if self._last is None or self._last[0] != path:
            self._last = (path, self._read(path))
        return self._last[1]

    def _read(self, path: Path) -> list[Plane]:
        image = read_image(path)
        if image.data.ndim > 3:
            raise FrameError(f"{path}: {image.data.ndim} axes; pictures are drawn of images and cubes")
        try:
            where = (
                self._region.slices(image.data.shape, path.name)
                if self._region
                else (slice(None),) * image.data.ndim
            )
        except RequestError as error:  # of this file; the region may be within others
            raise FrameError(f"{path}: {error}".replace(f"{path}: {path.name}: ", f"{path}: ")) from error
        values = np.where(image.valid, image.data, np.float32("nan"))[where]
        corner = (_start(where[-1]), _start(where[-2]))
        title, unit = self._title_of(image), str(image.header.get("BUNIT", "")).strip()
        if values.ndim == 2:
            return [Plane(values, title, unit, corner)]
        first, number = _start(where[0]), image.data.shape[0]
        return [
            Plane(plane, f"{title}  plane {first + i} of {number}".strip(), unit, corner, first + i)
            for i, plane in enumerate(values)
        ]

    def _title_of(self, image: Image) -> str:
        if self._title == "none":
            return ""
        if self._title == "object":
            return str(image.header.get("OBJECT", "")).strip() or image.name
        return image.name if self._title == "file" else self._title


def _start(part: slice) -> int:
    return int(part.start or 0) + 1


def same_size(planes: Sequence[Plane], shape: tuple[int, ...], path: Path, first: Path) -> None:
    """Check that planes have the size of those of the first file.

    Raises
    ------
    FrameError
        Naming both.
    """
    for plane in planes:
        if plane.values.shape != shape:
            (ny, nx), (ny0, nx0) = plane.values.shape, shape
            raise FrameError(
                f"{path}: {nx} x {ny} px; {first} has {nx0} x {ny0}, and all must be of one size"
            )
