"""Combine registered frames on the WCS of another image, by the package reproject (an optional extra)."""

from __future__ import annotations

import importlib
import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from visql_lib.ccd.resample import Resampled
from visql_lib.errors import RequestError
from visql_lib.images.blocks import refuse_unlike
from visql_lib.images.headers import read_header
from visql_lib.images.image import Image
from visql_lib.images.placed import Box, Placed, PlacedFrame
from visql_lib.images.registered import StackWishes, combined_image, stack_header

_WCS_CARDS = (
    "CD?_?",
    "PC?_?",
    "CDELT?",
    "CROTA?",
    "CRPIX?",
    "CRVAL?",
    "CTYPE?",
    "CUNIT?",
    "LONPOLE",
    "LATPOLE",
)


class ReprojectedFrame(PlacedFrame):
    """A frame on the pixels of another image; they lie in a temporary file.

    Parameters
    ----------
    placed : Placed
    resources : ExitStack
    reference, target : WCS
        Of the frame that it is registered to, and of the result.
    shape : (int, int)
        Of the result.
    """

    def __init__(
        self, placed: Placed, resources: ExitStack, reference: WCS, target: WCS, shape: tuple[int, int]
    ) -> None:
        super().__init__(placed, resources)
        self.back = np.array([1.0, 0, 0, 0, 1, 0])
        self.brighter = placed.factor
        data, variance = self._rows(0, self.frame.rows)
        own = registered_wcs(reference, placed.matrix)
        file = resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        self._planes = np.memmap(file, np.float32, "w+", shape=(2, *shape))
        for to, plane in zip(self._planes, (data - np.float32(placed.sky), variance), strict=True):
            to[:], footprint = _reproject()(
                (plane, own), target, shape_out=shape, conserve_flux=True, boundary_mode="strict"
            )
        self._seen = footprint > 0

    def resampled(self, box: Box, level: float) -> Resampled:
        """Return its pixels in a box of the result, scaled, their sky at a level."""
        x0, x1, y0, y1 = box
        ny, nx = self._seen.shape
        found = np.full((2, y1 - y0, x1 - x0), np.nan, np.float32)
        left, low = max(x0, 0), max(y0, 0)
        part = self._planes[:, low : min(y1, ny), left : min(x1, nx)]
        found[:, low - y0 : low - y0 + part.shape[1], left - x0 : left - x0 + part.shape[2]] = part
        values = found[0] * np.float32(self.brighter) + np.float32(level)
        return Resampled(values, found[1] * np.float32(self.brighter**2), 1.0)

    def sees(self, x: NDArray, y: NDArray) -> NDArray[np.bool_]:
        """Tell which pixels of the result lie within it."""
        seen: NDArray[np.bool_] = self._seen[np.asarray(y, int), np.asarray(x, int)]
        return seen


def stack_reprojected(placed: Sequence[Placed], target: Path, wishes: StackWishes | None = None) -> Image:
    """Combine registered frames on the pixels of another image.

    Where each frame looks follows from the WCS of the reference and the registration by stars. Frames
    are resampled once, by `reproject.reproject_adaptive` (Gaussian kernel, flux conserved).

    Parameters
    ----------
    placed : sequence of Placed
        The reference first: its header must have a WCS.
    target : Path
        An image whose WCS and size the result shall have.
    wishes : StackWishes, optional
        The footprint is that of the target.

    Returns
    -------
    Image
        ERR is such that sums over many pixels have the right error; that of one pixel alone is smaller,
        as the kernel smooths.

    Raises
    ------
    RequestError
        If the package reproject is not installed, or there is no usable WCS.
    """
    _reproject()
    wanted, header = wishes or StackWishes(), read_header(target)
    reference, onto = sky_wcs(read_header(placed[0].path), placed[0].path), sky_wcs(header, target)
    shape = int(header["NAXIS2"]), int(header["NAXIS1"])
    with ExitStack() as resources:
        frames = [ReprojectedFrame(one, resources, reference, onto, shape) for one in placed]
        refuse_unlike([one.frame for one in frames])
        image, _ = combined_image(frames, (0, shape[1], 0, shape[0]), wanted)
        ny, nx = frames[0].frame.shape
        made = stack_header(frames, (0, nx, 0, ny), wanted, 1.0)
    for pattern in _WCS_CARDS:
        made.remove(pattern, ignore_missing=True, remove_all=True) if "?" not in pattern else _drop(
            made, pattern
        )
    made.update(onto.to_header())
    made["INTERPOL"] = ("reproject_adaptive", "of each frame, once, from its own pixels")
    made["FOOTPRNT"] = ("wcs", f"pixels of {target.name}"[:40])
    image.header = made
    return image


def _drop(header: fits.Header, pattern: str) -> None:
    for key in list(header[pattern]):
        header.remove(key, ignore_missing=True)


def _reproject() -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = importlib.import_module("reproject").reproject_adaptive
    except ImportError as error:
        raise RequestError(
            "a stack on a given WCS needs the package reproject: pip install reproject"
        ) from error
    return found


def sky_wcs(header: fits.Header, path: Path) -> WCS:
    """Return the celestial WCS of a header.

    Raises
    ------
    RequestError
        If it has none, or one with distortions.
    """
    try:
        wcs = WCS(header, naxis=2)
    except (ValueError, MemoryError, fits.VerifyError) as error:
        raise RequestError(f"{path}: its WCS cannot be read ({error})") from error
    if not wcs.has_celestial:
        raise RequestError(f"{path}: has no WCS of the sky; solve its plate first")
    if wcs.has_distortion:
        raise RequestError(f"{path}: its WCS has a distortion; only linear ones can be used here")
    return wcs


def registered_wcs(reference: WCS, matrix: NDArray) -> WCS:
    """Return the WCS of a frame, of that of its reference and the transform between their pixels."""
    m = np.asarray(matrix, np.float64).reshape(2, 3)
    scales, own = reference.pixel_scale_matrix, WCS(naxis=2)
    own.wcs.ctype, own.wcs.crval, own.wcs.cunit = (
        reference.wcs.ctype,
        reference.wcs.crval,
        reference.wcs.cunit,
    )
    if not math.isnan(reference.wcs.lonpole):
        own.wcs.lonpole = reference.wcs.lonpole
    own.wcs.cd = scales @ m[:, :2]
    own.wcs.crpix = np.linalg.solve(m[:, :2], reference.wcs.crpix - 1 - m[:, 2]) + 1
    own.wcs.set()
    return own
