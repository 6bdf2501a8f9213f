"""Stage `stack`: registered lights -> one image with error, mask and number of frames, and its depth."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.errors import FrameError, RequestError
from visql_lib.images.image import Image
from visql_lib.images.masters import plain
from visql_lib.images.placed import Placed
from visql_lib.images.registered import StackWishes, stack_registered
from visql_lib.images.stars import measure_stars
from visql_lib.instruments.names import stem_of
from visql_lib.photometry.transparency import exposure_ratio
from visql_lib.pipelines.reduction.schemas import REGISTRATION
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.context import Context
from visql_lib.tables import read_table

log = logging.getLogger(__name__)

KIND = "STACK"
_WITHIN = 1 - 2.0**-4  # share of the light of a Gaussian star within 1 FWHM of its centre
_SIGMAS = 5.0  # of a star at the limit
_STRIP = 500_000  # px in which stars are measured at once: little memory
_SAMPLE = 250_000  # px of which the median of ERR is taken
_NAMED = 5  # frames left out that are named in REASON

Row = dict[str, Any]


@dataclass(frozen=True)
class StackInputs:
    """Reduced frames, the table of their registration, and a file whose WCS the result shall have.

    `lacking`: why there are no frames.
    """

    frames: Sequence[Path]
    registration: Path
    wcs: Path | None = None
    lacking: str = ""


@dataclass
class StackOutputs:
    """The stack (None if it failed), the reference; metadata: ``failed``, or ``title`` (target, filter)."""

    image: Image | None = None
    reference: Path | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def run(context: Context[ReductionSettings], inputs: StackInputs) -> StackOutputs:
    """Combine the frames that are registered; others are left out, and told.

    Raises
    ------
    VisqlError
        If none is registered, or they do not go together, unless failures are recorded.
    """
    made = StackOutputs(meta={"exposure": inputs.registration.name})
    settings = context.settings.stack
    with context.failures(made.meta):
        used, left = _chosen(inputs)
        for path, reason in left:
            log.warning("%s: left out of the stack: %s", path.name, reason)
        if not used:
            if not left:
                raise FrameError(inputs.lacking or "there are no frames to combine: the list is empty")
            raise FrameError(
                f"{inputs.registration.name}: none of {len(left)} frames is registered ({left[0][1]})"
            )
        placed = _placed(used, settings.scale)
        wishes = StackWishes(settings.footprint, settings.method, settings.sigma)
        made.reference = placed[0].path
        made.meta["title"] = [str(used[0][1][name]) for name in ("OBJECT", "FILTER")]
        if settings.wcs or inputs.wcs is not None:
            from visql_lib.images.reprojected import stack_reprojected  # needs an extra package

            made.image = stack_reprojected(placed, inputs.wcs or placed[0].path, wishes)
        else:
            made.image = stack_registered(placed, wishes)
        _describe(made.image, used, left)
    return made


def _chosen(inputs: StackInputs) -> tuple[list[tuple[Path, Row]], list[tuple[Path, str]]]:
    """Look the frames up in the registration: those to combine, the reference first, and those left out."""
    table = read_table(inputs.registration, REGISTRATION.names)
    rows = {
        str(table["EXPOSURE"][i]): {name: table[name][i] for name in REGISTRATION.names}
        for i in range(table.n_rows)
    }
    used: list[tuple[Path, Row]] = []
    left: list[tuple[Path, str]] = []
    for path in inputs.frames:
        row = rows.get(stem_of(path.name))
        if row is None:
            left.append((path, "it is not in the table of the registration"))
        elif str(row["STATUS"]) != FrameStatus.OK:
            left.append((path, f"{row['STATUS']}: {row['REASON']}"))
        else:
            used.append((path, row))
    used.sort(key=lambda item: not item[1]["REFERENCE"])
    if used and not used[0][1]["REFERENCE"]:
        name = next((n for n, row in rows.items() if row["REFERENCE"]), "none")
        raise RequestError(f"the reference of {inputs.registration} ({name}) is not in the list; add it")
    return used, left


def _placed(used: Sequence[tuple[Path, Row]], scale: bool) -> list[Placed]:
    """Return where frames lie, and their factors: by exposure time, and by transparency if `scale`."""
    reference = used[0][1]
    found = []
    for path, row in used:
        longer = exposure_ratio(float(row["EXPTIME"]), float(reference["EXPTIME"]))
        clear = float(row["TRANSPARENCY"]) if scale else 1.0
        if not clear > 0:
            log.warning("%s: its transparency is not known; scaled by the exposure time alone", path.name)
            clear = 1.0
        found.append(
            Placed(
                path,
                np.asarray(row["MATRIX"], np.float64),
                float(row["SKY"]),
                max(float(row["NOISE"]), 1e-6),
                1 / (longer * clear),
                float(row["FWHM"]),
                (float(row["SHIFT_X"]), float(row["SHIFT_Y"])),
                float(row["TURN"]),
            )
        )
    return found


def _describe(image: Image, used: Sequence[tuple[Path, Row]], left: Sequence[tuple[Path, str]]) -> None:
    """Measure the stack and write figures into its header; see `schemas.STACKS`."""
    assert image.err is not None
    header = image.header
    number, fwhm = _stars(image)
    step = max(1, math.isqrt(image.err.size // _SAMPLE))
    usable = image.err[::step, ::step]
    usable = usable[np.isfinite(usable)]
    noise = float(np.median(usable)) if usable.size else math.nan
    factor = float(header.get("CORRFAC", 1.0))
    depth = _SIGMAS * noise * factor * math.sqrt(math.pi) * fwhm / _WITHIN
    cards: Mapping[str, tuple[Any, str]] = {
        "REFERENC": (plain(stem_of(used[0][0].name)), "frame whose pixels these are"),
        "N_FRAMES": (len(used) + len(left), "frames of the list"),
        "N_USED": (len(used), "frames combined"),
        "FWHM": (fwhm, "[px] of the stars"),
        "NOISE": (noise, "median of ERR"),
        "N_STARS": (number, "stars"),
        "DEPTH": (depth, "flux of 5 sigma, aperture of radius 1 FWHM"),
        "COVERAGE": (float(np.isfinite(image.data).mean()), "share of pixels with a value"),
    }
    for key, (value, comment) in cards.items():
        if isinstance(value, float):
            value = float(f"{value:.6g}") if math.isfinite(value) else None
        header[key] = (value, comment)
    if left:
        names = ", ".join(path.name for path, _ in left[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
        header["REASON"] = plain(f"{len(left)} left out: {names} ({left[0][1]})")


def _stars(image: Image) -> tuple[int, float]:
    """Count the stars of a stack and measure their FWHM [px], by strips of rows of a large one."""
    rows = max(_STRIP // image.data.shape[1], 1)
    number, widths = 0, []
    for first in range(0, image.data.shape[0], rows):
        part = slice(first, first + rows)
        stars = measure_stars(image.data[part], image.mask[part] if image.mask is not None else None)
        number += len(stars)
        widths += [stars.fwhm] * len(stars)
    return number, float(np.median(widths)) if widths else math.nan
