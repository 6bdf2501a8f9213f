"""Simulated frames with their truth, and simulated days of GOES."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.config.load import digest
from visql_lib.errors import SimulationError
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context, no_progress
from visql_lib.simulate.exposure import simulate_exposure
from visql_lib.simulate.goes import GoesDay, write_goes_day
from visql_lib.simulate.plan import VERSION, ExposureOptions, with_type
from visql_lib.tables import atomic_path, write_table
from visql_lib.tables.truth import TRUE_CCDS, TRUE_QUADRANTS, TRUE_STARS

if TYPE_CHECKING:
    from visql_lib.products.context import Progress

FACTS = ("geometry", "detector", "photometry", "simulation", "exposure_classes")


@dataclass(frozen=True)
class SimulateInputs:
    """What is simulated, and where.

    Parameters
    ----------
    exposures : tuple of ExposureOptions
    folder : Path
        Of the frames; their truth is in its subfolder truth, days of GOES in goes.
    days : tuple of GoesDay
    jobs : int
        Number of processes.
    overwrite : bool
        Replace existing frames, even those not made by the simulator.
    """

    exposures: tuple[ExposureOptions, ...]
    folder: Path
    days: tuple[GoesDay, ...] = ()
    jobs: int = 1
    overwrite: bool = False


@dataclass(frozen=True)
class SimulateOutputs:
    """The frames that were made, not those kept."""

    frames: tuple[Path, ...]


def run(context: Context[VisSettings], inputs: SimulateInputs) -> SimulateOutputs:
    """Simulate exposures and days of GOES; see `make_frames`."""
    made = make_frames(
        inputs.exposures,
        context.instrument,
        inputs.folder,
        jobs=inputs.jobs,
        overwrite=inputs.overwrite,
        progress=context.progress,
    )
    for day in inputs.days:
        write_goes_day(day, inputs.folder / "goes")
    return SimulateOutputs(tuple(made))


def make_frames(
    exposures: Sequence[ExposureOptions],
    instrument: Instrument,
    folder: Path,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> list[Path]:
    """Simulate exposures into a folder, each with its truth; return the frames made, not those kept.

    Raises
    ------
    SimulationError
        If a file of the same name exists that was not made by the simulator.
    ConfigError
        If the instrument has no exposure class of a type.
    """
    exposures = [with_type(options, instrument) for options in exposures]
    missing = [e for e in exposures if overwrite or not _is_made(e, instrument, folder)]
    for options in missing:
        _refuse_foreign(options, folder, overwrite)
    paths = []
    with progress("Simulating", len(missing)) as advance:
        for path in _run(missing, instrument, folder, jobs):
            paths.append(path)
            advance()
    return paths


def _run(exposures: list[ExposureOptions], instrument: Instrument, folder: Path, jobs: int) -> Iterator[Path]:
    if jobs == 1 or len(exposures) < 2:
        yield from (_make_frame(e, instrument, folder) for e in exposures)
        return
    with ProcessPoolExecutor(min(jobs, len(exposures)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make_frame, exposures, repeat(instrument), repeat(folder))


def _make_frame(options: ExposureOptions, instrument: Instrument, folder: Path) -> Path:
    """Write the truth of a frame and then the frame, so that no frame is without truth."""
    frame = _frame_path(options, folder)
    stem = options.name.stem
    with atomic_path(frame) as temporary:
        truth = simulate_exposure(options, instrument, temporary)
        tables = ((TRUE_STARS, truth.stars), (TRUE_QUADRANTS, truth.quadrants), (TRUE_CCDS, truth.ccds))
        for schema, columns in tables:
            path = folder / "truth" / f"{stem}_{schema.product.removeprefix('truth_')}.parquet"
            write_table(path, columns or schema.empty(), schema, stage="simulate", stage_version=VERSION)
        with atomic_path(_facts_path(options, folder)) as facts:
            content = {**truth.facts, "digest": _digest(options, instrument)}
            facts.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return frame


def _frame_path(options: ExposureOptions, folder: Path) -> Path:
    return folder / f"{options.name.stem}{options.suffix}"


def _facts_path(options: ExposureOptions, folder: Path) -> Path:
    return folder / "truth" / f"{options.name.stem}.json"


def _digest(options: ExposureOptions, instrument: Instrument) -> str:
    return digest(options, instrument, str(VERSION))


def _is_made(options: ExposureOptions, instrument: Instrument, folder: Path) -> bool:
    """Check that the frame is there, made with the same options."""
    facts = _facts_path(options, folder)
    if not (_frame_path(options, folder).is_file() and facts.is_file()):
        return False
    try:
        return bool(
            json.loads(facts.read_text(encoding="utf-8")).get("digest") == _digest(options, instrument)
        )
    except (ValueError, AttributeError):
        return False


def _refuse_foreign(options: ExposureOptions, folder: Path, overwrite: bool) -> None:
    frame = _frame_path(options, folder)
    if frame.exists() and not overwrite and not _facts_path(options, folder).is_file():
        raise SimulationError(f"{frame}: exists, and is not from the simulator; --overwrite replaces it")
