"""Stage `reduce`: raw lights -> lights free of bias, dark and flat, with error and mask."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.ccd.arithmetic import Pixels
from visql_lib.ccd.cosmics import find_cosmic_rays, require_astroscrappy
from visql_lib.ccd.dark import DarkKind
from visql_lib.ccd.reduce import Calibration, gain_after_flat, reduce_light
from visql_lib.errors import DetectionError, FrameError, NoMasterError, NotRawError, RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.chip import Chip, read_chip
from visql_lib.images.image import MASK, Image
from visql_lib.images.stars import measure_stars
from visql_lib.instruments.names import stem_of
from visql_lib.pipelines.reduction.calibration import Masters, open_masters
from visql_lib.pipelines.reduction.electronics import fill_in
from visql_lib.pipelines.reduction.reduced_header import LightRow, finish_header, row_of_header
from visql_lib.pipelines.reduction.registry import REGISTRY
from visql_lib.pipelines.reduction.settings import CALIBRATIONS, ReductionSettings
from visql_lib.pipelines.reduction.stages.masters import overscan_options
from visql_lib.pipelines.reduction.standing import stands
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.context import Context, note_used
from visql_lib.products.failures import failure_recorded
from visql_lib.tables.provenance import checksum_of

log = logging.getLogger(__name__)

STAGE = REGISTRY["reduce"]
_LOWEST = 0.1  # of a flat that has no mask: pixels below are never divided by
_BLOCK = 1 << 18  # pixels that are computed at once
_EVERY = 8  # row and column of the masters counts for the level that is taken off
_UNLIKE = 0.15  # of the scatter of the sky: what its ERR may differ untold
_NOT_LIGHTS = ("BIAS", "DARK", "FLAT")
_HELP = {
    "bias": "give --bias FILE (visql master-bias makes it)",
    "dark": "give --dark FILE (visql master-dark makes it)",
    "flat": "give --flat FILE (visql master-flat makes it)",
}


@dataclass(frozen=True)
class ReduceInputs:
    """What is reduced with what, and where the reduced lights are written.

    Parameters
    ----------
    lights : tuple of Path
        Raw frames.
    folder : Path
        Of the reduced frames, ``{exposure}.fits``; those that stand there are not made again.
    bias, dark, flat, bad : Path, optional
        The masters, and the bad pixels.
    """

    lights: tuple[Path, ...]
    folder: Path
    bias: Path | None = None
    dark: Path | None = None
    flat: Path | None = None
    bad: Path | None = None

    @property
    def masters(self) -> dict[str, Path | None]:
        """The files of the masters by kind."""
        return {"bias": self.bias, "dark": self.dark, "flat": self.flat, "bad": self.bad}

    def product(self, light: Path) -> Path:
        """Return where a reduced light is written."""
        return self.folder / f"{stem_of(light.name)}.fits"


@dataclass
class ReducedLight:
    """What became of a light: its row of the table FRAMES, and the image, None if it is not (newly) made."""

    row: LightRow
    path: Path
    image: Image | None = None
    inputs: tuple[Path, ...] = field(default=())


def run(context: Context[ReductionSettings], inputs: ReduceInputs) -> Iterator[ReducedLight]:
    """Reduce lights one after the other; a light that fails costs itself.

    Yields
    ------
    ReducedLight
        Of each light, in the order of the list; within the record of its own run, so that it can be written.

    Raises
    ------
    RequestError
        If two lights would have one name, a master is of another kind, or astroscrappy is missing.
    FrameError
        If a master cannot be read.
    """
    _check_names(inputs)
    if context.settings.reduce.cosmic_rays:
        require_astroscrappy()
    sources = tuple(path for path in inputs.masters.values() if path is not None)
    sums = [checksum_of(path) for path in sources]
    said: Counter[str] = Counter()
    with (
        open_masters(inputs.masters, context.instrument) as masters,
        context.progress("reduce", len(inputs.lights)) as advance,
    ):
        for light in inputs.lights:
            product = inputs.product(light)
            with run_record.recording("reduce"):
                note_used(context.settings, context.instrument, STAGE.settings, STAGE.facts)
                if stands(product, light, sums, STAGE):
                    yield ReducedLight(row_of_header(light, product, context.instrument), product)
                else:
                    yield _reduced(context, light, product, masters, sources, said)
            advance()
    for why, n in said.items():
        if n > 1:
            log.warning("%d more light%s: %s", n - 1, "s" if n > 2 else "", why)


def _check_names(inputs: ReduceInputs) -> None:
    """Refuse two lights of one name, and a light in the place of its own product."""
    seen: dict[Path, Path] = {}
    for light in inputs.lights:
        product = inputs.product(light)
        if (other := seen.setdefault(product, light)) != light:
            raise RequestError(f"{other} and {light} would both become {product}; reduce them one by one")
        if product.exists() and product.samefile(light):
            raise RequestError(
                f"{light} would be replaced by what is made of it; give another folder with -o"
            )


def _reduced(
    context: Context[ReductionSettings],
    light: Path,
    product: Path,
    masters: Masters,
    sources: tuple[Path, ...],
    said: Counter[str],
) -> ReducedLight:
    """Reduce one light; what is wrong with it goes into its row, and is logged of the first it is said of."""
    row = LightRow(light)
    found = ReducedLight(row, product, inputs=sources)
    failed: dict[str, Any] = {"exposure": row.exposure}
    with failure_recorded(True, failed):
        try:
            found.image = _Light(context, light, masters, row).reduced()
        except NoMasterError as error:
            why = f"uncalibrated: {error}"
            said[why] += 1
            if said[why] == 1:
                log.warning("%s: %s", row.exposure, why)
            row.became(FrameStatus.UNCALIBRATED, str(error))
        except NotRawError as error:
            log.warning("%s: left out: %s", row.exposure, error)
            row.became(FrameStatus.LEFT_OUT, str(error))
    if "failed" in failed:
        row.became(FrameStatus.FAILED, failed["failed"])
    return found


class _Light:
    """One light on its way."""

    def __init__(
        self, context: Context[ReductionSettings], path: Path, masters: Masters, row: LightRow
    ) -> None:
        self.settings, self.masters, self.row = context.settings, masters, row
        self.chip: Chip = read_chip(path, context.instrument, overscan_options(context.settings))
        row.take_facts(self.chip)
        self.notes = list(self.chip.notes)

    def reduced(self) -> Image:
        """Reduce it.

        Raises
        ------
        NoMasterError
            If a master that it needs is not there.
        FrameError
            If it is no light, or a master does not fit.
        """
        chip, image = self.chip, self.chip.image
        if chip.facts.frame_type in _NOT_LIGHTS:
            raise FrameError(f"{image.name}: is a {chip.facts.frame_type}, no light")
        self.notes += self.masters.check(chip)
        self._check_complete()
        self.notes += fill_in(chip, self.masters)
        assert image.mask is not None
        self.row.level = _level(image.data)
        taken = self._reduce_rows()
        self._measure()
        self._mask_cosmic_rays()
        electrons = self._to_electrons()
        self.row.became(FrameStatus.OK, "; ".join(dict.fromkeys(filter(None, self.notes))))
        self.row.count(image.mask)
        kind = str(self.kind or "")
        finish_header(image.header, chip, self.masters, self.row, taken, electrons, kind)
        return image

    def _check_complete(self) -> None:
        """Check that each master is there, or may be missing."""
        masters = self.masters
        allowed = self.settings.reduce.allow_missing
        for kind in CALIBRATIONS:
            there = getattr(masters, kind) is not None or (kind == "bias" and masters.bias_in_dark)
            if there:
                continue
            why = (masters.missing or {}).get(kind, "")
            if kind not in allowed:
                raise NoMasterError(
                    f"no master {kind}{f' ({why})' if why else ''}: {_HELP[kind]}, or set "
                    f"reduce.allow_missing: [{kind}] (a command reads it from --config FILE)"
                )
            self.notes.append(f"without {kind}{f': {why}' if why else ''}")
        self.kind: DarkKind | None = None
        if masters.dark is not None:
            self._choose_dark()

    def _choose_dark(self) -> None:
        """Tell how the dark for the light's exposure time is found, and flag what is doubtful about it."""
        assert self.masters.dark is not None
        try:
            self.kind = self.masters.dark.kind_for(self.chip.facts.exptime)
        except NoMasterError as error:
            if "dark" not in self.settings.reduce.allow_missing:
                raise
            self.notes.append(f"without dark: {error}")
        if self.kind is DarkKind.GLOBAL_LINE:
            self.notes.append(f"dark of {self.kind}")

    @property
    def gain(self) -> float | NDArray:
        """electron/ADU, of each pixel where amplifiers differ; NaN: not known."""
        return self.chip.gain()

    def _reduce_rows(self) -> float:
        """Reduce the pixels in place, by blocks of rows; return the level that was taken off [ADU]."""
        image = self.chip.image
        assert image.mask is not None
        image.err = np.empty_like(image.data)
        gain, noise = self.gain, self._read_noise()
        n = max(_BLOCK // image.data.shape[1], 1)
        taken = []
        for first in range(0, image.data.shape[0], n):
            rows = slice(first, first + n)
            masters, level = self._calibration(rows)
            light = Pixels(image.data[rows], None, image.mask[rows])
            found = reduce_light(light, masters, _rows_of(gain, rows), _rows_of(noise, rows), self.chip.step)
            image.data[rows], image.err[rows], image.mask[rows] = found
            taken.append(level)
        return _level(np.array(taken))

    def _read_noise(self) -> float | NDArray:
        """Return the read noise [electron]; 0, and told, where it is not known but the gain is."""
        noise = self.chip.read_noise()
        unknown = np.isnan(noise)
        if (unknown & ~np.isnan(self.gain)).any():
            self.notes.append("the read noise is not known; ERR is without it")
        return np.nan_to_num(noise) if isinstance(noise, np.ndarray) else (0.0 if unknown else noise)

    def _calibration(self, rows: slice) -> tuple[Calibration, float]:
        """Read rows of all masters; and the level that they take off [ADU]."""
        masters, exptime = self.masters, self.chip.facts.exptime
        bias = None if masters.bias is None else masters.bias.pixels(rows)
        dark, shared = None, 0.0
        pedestal: float | NDArray = 0.0
        if masters.dark is not None and self.kind is not None:
            dark = masters.dark.dark(exptime, rows)
            pedestal = masters.dark.pedestal(dark.values)
            if masters.bias is not None and masters.dark.is_of(masters.bias):
                shared = masters.dark.share_of_bias(exptime)
        level = sum(_level(m.values[::_EVERY, ::_EVERY]) for m in (bias, dark) if m is not None)
        return Calibration(
            bias,
            dark,
            None if masters.flat is None else masters.flat.pixels(rows),
            None if masters.bad is None else masters.bad.mask(rows),
            pedestal,
            shared,
            0.0 if masters.flat is None or masters.flat.has(MASK) else _LOWEST,
        ), level

    def _measure(self) -> None:
        """Measure sky and stars; where the gain is not known, the sky's scatter is the error."""
        image, row = self.chip.image, self.row
        assert image.err is not None
        assert image.mask is not None
        if image.mask.all():
            raise FrameError(
                f"{image.name}: none of its pixels can be used: all are masked, saturated or NaN"
            )
        try:
            stars = measure_stars(image.data, image.mask)
        except DetectionError as error:
            self.notes.append(f"stars not measured: {error}")
            return
        row.sky, row.noise, row.fwhm, row.n_stars = stars.sky, stars.noise, stars.fwhm, len(stars)
        unknown = np.isnan(self.gain)
        if unknown.any():
            self.notes.append("the gain is not known; ERR is the scatter of the sky")
            where = np.broadcast_to(unknown, image.data.shape) & np.isfinite(image.data)
            image.err[where] = stars.noise
        err = _level(np.where(image.mask[::_EVERY, ::_EVERY] == 0, image.err[::_EVERY, ::_EVERY], np.nan))
        if abs(err - stars.noise) > _UNLIKE * stars.noise > 0:
            self.notes.append(
                f"ERR of the sky is {err:.3g} adu, its scatter {stars.noise:.3g}: are gain and read noise "
                "right?"
            )

    def _mask_cosmic_rays(self) -> None:
        """Mask cosmic rays, if that is wanted and can be."""
        image, wanted = self.chip.image, self.settings.reduce
        if not wanted.cosmic_rays:
            return
        gain = self._one_gain()
        if np.isnan(gain).any():
            self.notes.append("cosmic rays not searched: the gain is not known")
            return
        assert image.mask is not None
        noise = self.chip.read_noise()
        found = find_cosmic_rays(
            image.data * np.asarray(gain, dtype=np.float32),
            image.mask != 0,
            read_noise=float(np.sqrt(np.nanmean(np.square(noise)))) if np.isfinite(noise).any() else math.nan,
            fwhm=self.row.fwhm,
            sigma=wanted.cosmic_sigma,
            narrowest=wanted.cosmic_fwhm,
        )
        if found is None:
            self.notes.append(f"cosmic rays not searched: FWHM {self.row.fwhm:.1f} px")
            return
        image.mask[found] |= np.int16(PixelFlag.COSMIC)
        self.row.n_cosmic = int(found.sum())

    def _one_gain(self) -> float | NDArray:
        """Return the gain of the reduced pixels [electron/ADU]: after a flat one for all amplifiers."""
        return gain_after_flat(self.gain) if self.masters.flat is not None else self.gain

    def _to_electrons(self) -> float | NDArray | None:
        """Multiply by the gain, if that is wanted; return by what [electron/ADU], None if it is not."""
        if not self.settings.reduce.electrons:
            return None
        gain, image = self._one_gain(), self.chip.image
        if np.isnan(gain).any():
            raise FrameError(
                f"{image.name}: its gain is not known, so it cannot be given in electrons; write GAIN, or "
                "the gain of the amplifiers into the instrument file, or set reduce.electrons: false"
            )
        factor = np.asarray(gain, dtype=np.float32)
        image.data *= factor
        assert image.err is not None
        image.err *= factor
        return gain


def _level(values: NDArray) -> float:
    """Return the median of what is finite, NaN of nothing."""
    known = values[np.isfinite(values)]
    return float(np.median(known, overwrite_input=True)) if known.size else math.nan


def _rows_of(value: float | NDArray, rows: slice) -> float | NDArray:
    return value[rows] if isinstance(value, np.ndarray) else value


def frames_columns(rows: list[LightRow]) -> Mapping[str, Any]:
    """Return the columns of the table FRAMES of some lights."""
    columns = {name: [getattr(row, name.lower()) for row in rows] for name in LightRow.COLUMNS}
    return columns | {"FILE": [Path(row.file).name for row in rows]}
