"""Stage `lc_psf`: stamps of frames -> PSF of each, fluxes of all its stars."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.config.units import SettingsSection
from visql_lib.errors import FrameError, TableError
from visql_lib.flags import StarFlag
from visql_lib.photometry.psf_stars import StarFit, fit_star
from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.psf_file import PSFProduct, psf_row, read_psf_product
from visql_lib.pipelines.lightcurves.psf_stars import (
    PSFChoice,
    has_cosmic,
    star_of,
    stars_of,
    surface_options,
)
from visql_lib.pipelines.lightcurves.schemas import PSF_CHUNK, STAR_FLUXES
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.stamps import Stamps
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.versions import VERSIONS
from visql_lib.products.context import Context, note_used
from visql_lib.psf.backends import PSFBackend, psf_backend
from visql_lib.psf.effective_fit import EffectiveFit
from visql_lib.tables.provenance import checksum_of, fact_digest, read_record
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

STAGE = "lc_psf"
STAGES = {STAGE: VERSIONS[STAGE]}
_FACT = "psf_choice"  # of a record: which stars make the PSF, which are measured
_STAR_COLUMNS = ("FLUX", "ERR", "X", "Y", "CHI2", "FLAGS")


@dataclass(frozen=True)
class PSFInputs:
    """Frames of a set, and where their products lie.

    Parameters
    ----------
    stamps : sequence of Path
        ``FRAME_stamps.fits``.
    folder : Path
        Products are ``FOLDER/FRAME/FRAME_psf.fits``; frames that stand are not fitted again.
    stars : tuple of str
        The stars that are measured.
    choices : tuple of PSFChoice
        The PSF sets; the last that is available in a frame serves.
    set : str
    """

    stamps: Sequence[Path]
    folder: Path
    stars: tuple[str, ...]
    choices: tuple[PSFChoice, ...]
    set: str

    def fact(self) -> dict[str, Any]:
        """Return what of the choices changes a product."""
        return {"psf": [choice.fact() for choice in self.choices], "stars": list(self.stars)}


@dataclass
class FittedPSF:
    """What became of a frame; `product` is None where it has no PSF."""

    name: str
    path: Path
    row: dict[str, Any] = field(default_factory=dict)
    product: PSFProduct | None = None
    stands: bool = False

    @property
    def ok(self) -> bool:
        """Whether it has a PSF."""
        return self.product is not None


def run(context: Context[LightCurveSettings], inputs: PSFInputs) -> Iterator[FittedPSF]:
    """Fit frames one after the other.

    Yields
    ------
    FittedPSF
        Of each frame, in the order of the list; within the record of its own run, so that it can be written.

    Raises
    ------
    RequestError
        If the backend is not installed.
    """
    settings = context.settings.psf
    backend = psf_backend(settings.backend, surface_options(settings))
    with context.progress("PSF", len(inputs.stamps)) as advance:
        for path in inputs.stamps:
            with run_record.recording("lc-psf"):
                note_used(context.settings, context.instrument, ("psf",))
                run_record.current().use_fact(_FACT, inputs.fact())
                name = path.name.removesuffix("_stamps.fits")
                made = FittedPSF(name, inputs.folder / name / f"{name}_psf.fits")
                if not _take_standing(made, path, settings):
                    _fit(made, path, inputs, backend, settings.clip, settings.clip_share)
                yield made
            advance()


def _take_standing(made: FittedPSF, stamps: Path, settings: SettingsSection) -> bool:
    """Read a product that was made of the same stamps, choices and settings by the same version."""
    try:
        entry = read_record(made.path)
        if list(entry.get("inputs", {}).values()) != [checksum_of(stamps)]:
            return False
        wanted = {"psf": settings.model_dump(mode="json")}
        if entry.get("stages") != STAGES or entry.get("settings") != wanted:
            return False
        if entry.get("facts", {}).get(_FACT) != fact_digest(run_record.current().facts[_FACT]):
            return False
        made.product = read_psf_product(made.path)
    except TableError:
        return False
    made.row, made.stands = made.product.row, True
    return True


def _fit(
    made: FittedPSF, path: Path, inputs: PSFInputs, backend: PSFBackend, clip: float, share: float
) -> None:
    try:
        stamps = Stamps.read(path)
    except FrameError as error:
        _without(made, inputs, str(error))
        return
    notes: list[str] = []
    for choice in reversed(inputs.choices):  # the last that is available serves
        fit = _fit_choice(stamps, choice, backend)
        if fit.psf is not None:
            break
        notes.append(f"{choice.name}: {fit.reason}" if len(inputs.choices) > 1 else fit.reason)
    if fit.psf is None:
        _without(made, inputs, "; ".join(notes))
        return
    notes += [f"without {star}: {why}" for star, why in fit.left_out.items()]
    row = {"FRAME": made.name, "PSF_SET": choice.name, "REASON": "; ".join(notes), **psf_row(fit.psf)}
    row |= {"CHI2": fit.chi2, "N_STARS": len(fit.used), "STARS": " ".join(fit.used)}
    rows = []
    for name in inputs.stars:
        star = star_of(stamps, name)
        if star is None:
            rows.append(_star_row(made.name, choice.name, name, None, int(StarFlag.OUTSIDE)))
            continue
        found = fit_star(star, fit.psf, clip=clip, clip_share=share)
        cosmic = StarFlag.COSMIC if has_cosmic(stamps, name, fit.psf.fwhm) else 0
        rows.append(_star_row(made.name, choice.name, name, found, found.flags | int(cosmic)))
    made.row, made.product = row, PSFProduct(fit.psf, row, STAR_FLUXES.of_rows(rows))


def _fit_choice(stamps: Stamps, choice: PSFChoice, backend: PSFBackend) -> EffectiveFit:
    stars = stars_of(stamps, choice.stars)
    fit = backend.fit(stars, choice.gradient, stamps.fwhm)
    if fit.psf is None and len(stars) < len(choice.stars):
        lacking = [name for name in choice.stars if stamps.index(name) < 0]
        return EffectiveFit(None, f"{fit.reason}; outside the frame: {' '.join(lacking)}")
    return fit


def _without(made: FittedPSF, inputs: PSFInputs, reason: str) -> None:
    """Note why a frame has no PSF."""
    log.warning("%s: %s: %s", made.name, LightStatus.NO_PSF, reason)
    sets = inputs.choices[-1].name if inputs.choices else ""
    made.row = {"FRAME": made.name, "PSF_SET": sets, "REASON": reason, **psf_row(None)}


def _star_row(frame: str, psf_set: str, star: str, found: StarFit | None, flags: int) -> dict[str, Any]:
    nan = math.nan
    row: dict[str, Any] = {"FRAME": frame, "PSF_SET": psf_set, "STAR": star, "FLAGS": flags}
    if found is None:
        return row | {"FLUX": nan, "ERR": nan, "X": nan, "Y": nan, "CHI2": nan}
    place = {"X": found.x + 1, "Y": found.y + 1}
    return row | {"FLUX": found.flux, "ERR": found.err, "CHI2": found.chi2, **place}


def stamps_of_chunk(table: Path, folder: Path) -> list[Path]:
    """Return the stamps of the frames of a night that are aligned.

    Parameters
    ----------
    table : Path
        TRANSFORMS of the night.
    folder : Path
        Of the frames' products.
    """
    rows = read_table(table, ["FRAME", "STATUS"])
    names = [str(n) for n, s in zip(rows["FRAME"], rows["STATUS"], strict=True) if s == LightStatus.OK]
    return [folder / name / f"{name}_stamps.fits" for name in names]


def chunk_columns(made: Sequence[FittedPSF], stars: Sequence[str]) -> dict[str, NDArray]:
    """Return the columns of PSF_CHUNK: a row for each frame, the stars as lists in the order of `stars`."""
    rows = []
    for fitted in made:
        row = dict(fitted.row)
        for column in _STAR_COLUMNS:
            if fitted.product is not None:
                row[f"STAR_{column}"] = np.asarray(fitted.product.stars[column])
            else:
                row[f"STAR_{column}"] = np.full(len(stars), 0 if column == "FLAGS" else math.nan)
        rows.append(row)
    return PSF_CHUNK.of_rows(rows)


def chunk_meta(made: Sequence[FittedPSF], inputs: PSFInputs, target: str) -> Mapping[str, Any]:
    """Return the metadata of PSF_CHUNK: the names of the stars, and what was decided."""
    decisions = [
        Decision(f.name, inputs.set, STAGE, False, f"{LightStatus.NO_PSF}: {f.row['REASON']}")
        for f in made
        if not f.ok
    ]
    return {"target": target, "set": inputs.set, "stars": list(inputs.stars), **to_meta(decisions)}
