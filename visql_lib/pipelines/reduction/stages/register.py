"""Stage `register`: where the lights of a stack lie relative to the best one, and how clear the sky was."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.checksum import new_hash
from visql_lib.errors import RequestError, VisqlError
from visql_lib.frames.header import ExposureHeader
from visql_lib.images.blocks import refuse_unlike
from visql_lib.images.headers import value_of
from visql_lib.images.image import read_image
from visql_lib.images.stars import SIGMA, MeasuredStars, measure_stars
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import stem_of
from visql_lib.photometry.transparency import exposure_ratio, flux_ratio
from visql_lib.pipelines.reduction.schemas import REGISTRATION
from visql_lib.pipelines.reduction.settings import ReductionSettings, RegistrationSettings
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.context import Context
from visql_lib.sky.pairs import mutual_nearest
from visql_lib.sky.registration import Places, Registration, register
from visql_lib.values import number

log = logging.getLogger(__name__)

_UNSURE = 0.3  # px, least error of the place of a star that is cut, masked or saturated
_CANDIDATES = 3  # references that are tried while less than half of the frames fit one


@dataclass(frozen=True)
class RegisterInputs:
    """Reduced frames, and the one that is the reference; None: the best is chosen."""

    frames: Sequence[Path]
    reference: Path | None = None


@dataclass
class Light:
    """A frame to be registered, with its stars, and what became of it; see `schemas.REGISTRATION`."""

    path: Path
    status: FrameStatus = FrameStatus.OK
    reason: str = ""
    header: fits.Header = field(default_factory=fits.Header)
    shape: tuple[int, ...] = (0, 0)
    facts: ExposureHeader | None = None
    stars: MeasuredStars | None = None
    placed: Registration | None = None
    transparency: tuple[float, float] = (math.nan, math.nan)
    is_reference: bool = False
    checksum: bytes = b""  # of its pixels

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.name

    @property
    def exptime(self) -> float:
        """Its exposure time [s]; NaN: not known."""
        return self.facts.exptime if self.facts is not None else math.nan

    @property
    def quality(self) -> float:
        """How good a reference it is: number of whole stars over FWHM and noise of the sky."""
        stars = self.stars
        if stars is None or not len(stars) or not stars.fwhm > 0:
            return 0.0
        return float(stars.whole.sum()) / (stars.fwhm * max(stars.noise, 1e-9))

    def places(self) -> Places:
        """Its stars as they are registered; those that are cut or saturated count for little."""
        stars = self.stars
        assert stars is not None
        err = stars.fwhm / SIGMA * stars.flux_err / np.maximum(stars.flux, 1e-9)
        err = np.where(stars.whole, err, np.maximum(err, _UNSURE))
        return Places(stars.x, stars.y, stars.flux, err)

    def leave_out(self, status: FrameStatus, reason: str) -> None:
        """Note why it is left out."""
        self.status, self.reason, self.placed = status, reason, None


@dataclass(frozen=True)
class RegisterOutputs:
    """Columns of the table REGISTRATION, and its metadata."""

    columns: Mapping[str, NDArray]
    meta: dict[str, Any]


def run(context: Context[ReductionSettings], inputs: RegisterInputs) -> RegisterOutputs:
    """Register frames; one that does not fit has a status and a reason, and stops nothing.

    Raises
    ------
    RequestError
        If frames differ in size, binning or gain, or the reference is none of them, unless failures are
        recorded.
    """
    meta: dict[str, Any] = {"exposure": inputs.frames[0].name if inputs.frames else ""}
    lights: list[Light] = []
    with context.failures(meta):
        settings = context.settings.registration
        with context.progress("stars", len(inputs.frames)) as advance:
            for path in inputs.frames:
                lights.append(_measured(path, settings, context.instrument))
                advance()
        refuse_unlike([light for light in lights if light.stars is not None])
        _leave_out_copies(lights)
        _register_all(lights, inputs.reference, settings)
    if "failed" in meta:
        for light in lights:
            light.leave_out(FrameStatus.FAILED, meta["failed"])
    for light in lights:
        if light.status is not FrameStatus.OK:
            log.warning("%s: %s: %s", light.name, light.status, light.reason)
    return RegisterOutputs(REGISTRATION.of_rows(map(_row, lights)), meta)


def _leave_out_copies(lights: Sequence[Light]) -> None:
    """Leave out the same pixels under another name: they would count twice."""
    seen: dict[bytes, Light] = {}
    for light in lights:
        if light.stars is not None and (first := seen.setdefault(light.checksum, light)) is not light:
            light.stars = None
            light.leave_out(FrameStatus.LEFT_OUT, f"the same pixels as {first.name}")


def _measured(path: Path, settings: RegistrationSettings, instrument: Instrument) -> Light:
    """Read a frame and measure its stars."""
    light = Light(path)
    try:
        image = read_image(path)
        if image.data.ndim != 2:
            raise RequestError(f"{path}: is a cube; registration is of single images")
        light.header, light.shape = image.header, image.data.shape
        light.checksum = new_hash(image.data.tobytes()).digest()
        light.facts = ExposureHeader.from_cards(_cards(image.header), instrument, None)
        saturation = number(value_of(image.header, "SATURATE"))
        light.stars = measure_stars(
            image.data,
            image.mask,
            threshold=settings.threshold,
            err=image.err,
            saturation=saturation if saturation > 0 else math.inf,
        )
    except VisqlError as error:
        light.leave_out(FrameStatus.FAILED, str(error))
    return light


def _cards(header: fits.Header) -> dict[str, Any]:
    """Return the cards of a header that have a value."""
    cards = {key: value_of(header, key) for key in dict.fromkeys(header.keys())}
    return {key: value for key, value in cards.items() if value is not None}


def _register_all(lights: Sequence[Light], wanted: Path | None, settings: RegistrationSettings) -> None:
    """Choose the reference and register all others to it.

    The best frame is that of the largest number of whole stars / (FWHM x noise of the sky). If less
    than half of the frames fit it (it may be of another field), the next best two are tried; the one
    that most frames fit stays.
    """
    usable = [light for light in lights if light.stars is not None]
    if not usable:
        return
    if wanted is not None:
        named = [light for light in usable if light.path.resolve() == wanted.resolve()]
        if not named:
            raise RequestError(f"{wanted}: is none of the frames that can be used; name one of them")
        _register_to(named[0], usable, settings)
        return
    ranked = sorted(usable, key=lambda light: -light.quality)[:_CANDIDATES]
    counts = []
    for candidate in ranked:
        counts.append(_register_to(candidate, usable, settings))
        if 2 * counts[-1] >= len(usable):
            return
    _register_to(ranked[int(np.argmax(counts))], usable, settings)


def _register_to(reference: Light, lights: Sequence[Light], settings: RegistrationSettings) -> int:
    """Register frames to one of them; return how many fit, itself among them."""
    for light in lights:
        light.is_reference = light is reference
        light.status, light.reason, light.placed = FrameStatus.OK, "", None
        light.transparency = (math.nan, math.nan)
        _place(light, reference, settings)
    return sum(light.placed is not None for light in lights)


def _place(light: Light, reference: Light, settings: RegistrationSettings) -> None:
    """Register one frame, and compare its stars' fluxes with the reference's."""
    here, there = light.places(), reference.places()
    shape = light.shape[0], light.shape[1]
    if light is reference:
        light.transparency = (1.0, 0.0)
        whole = np.arange(len(here))
        light.placed = Registration(
            np.array([1.0, 0, 0, 0, 1, 0]), (0.0, 0.0), 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, whole, whole
        )
        if len(here) < settings.min_stars:
            light.reason = f"reference of only {len(here)} stars"
        return
    light.placed = register(
        here,
        there,
        (shape, shape),
        transform=settings.transform,
        tolerance=settings.tolerance,
        min_stars=settings.min_stars,
    )
    if light.placed is None:
        few = min(len(here), len(there)) < settings.min_stars
        why = f"{len(here)} stars, the reference {reference.name} has {len(there)}"
        end = f"at least {settings.min_stars} are needed" if few else "they do not fit: another field?"
        light.leave_out(FrameStatus.NOT_REGISTERED, f"{why}: {end}")
        return
    light.transparency = _transparency(light, reference, settings.tolerance)
    if not light.transparency[0] > 0:
        light.reason = "no unsaturated star in common: its transparency is not known"


def _transparency(light: Light, reference: Light, tolerance: float) -> tuple[float, float]:
    """Return the flux per second of the stars that stand alone over that in the reference, with its error."""
    assert light.placed is not None
    assert light.stars is not None
    assert reference.stars is not None
    m, here, there = light.placed.matrix, light.stars, reference.stars
    x, y = m[0] * here.x + m[1] * here.y + m[2], m[3] * here.x + m[4] * here.y + m[5]
    i, j = mutual_nearest(x, y, there.x, there.y, tolerance)
    both = here.alone[i] & there.alone[j]
    i, j = i[both], j[both]
    ratio, err = flux_ratio(here.flux[i], here.flux_err[i], there.flux[j], there.flux_err[j])
    longer = exposure_ratio(light.exptime, reference.exptime)
    return ratio / longer, err / longer


def _row(light: Light) -> dict[str, Any]:
    facts, stars, placed = light.facts, light.stars, light.placed
    nan = math.nan
    start = facts.start if facts is not None else None
    return {
        "EXPOSURE": stem_of(light.name),
        "FILE": light.path.name,
        "TYPE": facts.frame_type if facts is not None else "UNKNOWN",
        "DATE_OBS": np.datetime64(start.replace(tzinfo=None), "us") if start else np.datetime64("NaT", "us"),
        "EXPTIME": light.exptime,
        "FILTER": facts.extra.get("FILTER", "") if facts is not None else "",
        "OBJECT": facts.extra.get("OBJECT", "") if facts is not None else "",
        "STATUS": str(light.status),
        "REASON": light.reason,
        "REFERENCE": light.is_reference,
        "MATRIX": placed.matrix if placed else np.full(6, nan),
        "SHIFT_X": placed.shift[0] if placed else nan,
        "SHIFT_Y": placed.shift[1] if placed else nan,
        "SHIFT_ERR": placed.shift_err if placed else nan,
        "TURN": placed.turn if placed else nan,
        "TURN_ERR": placed.turn_err if placed else nan,
        "SCALE": placed.scale if placed else nan,
        "SCALE_ERR": placed.scale_err if placed else nan,
        "RESIDUAL": placed.residual if placed else nan,
        "N_MATCHED": len(placed.first) if placed else 0,
        "N_STARS": len(stars) if stars is not None else 0,
        "FWHM": stars.fwhm if stars is not None else nan,
        "SKY": stars.sky if stars is not None else nan,
        "NOISE": stars.noise if stars is not None else nan,
        "TRANSPARENCY": light.transparency[0],
        "TRANSPARENCY_ERR": light.transparency[1],
    }
