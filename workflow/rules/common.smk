import gc
import os
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from visql_lib.config import STAGES, settings_from_mapping
from visql_lib.errors import VisqlError
from visql_lib.frames.mosaic import ZOOM_POSITIONS as ZOOMS
from visql_lib.plan import (
    CATALOGUED,
    GAIA_PICTURES,
    MOMENT_PICTURES,
    QUALITY_TEXTS,
    RADIATION_PICTURES,
    SCIENCE_PICTURES,
    Plan,
    missing,
)
from visql_lib.plan.alone import begin_run, clear_dead_lock, end_run
from visql_lib.plan.radiation import MOVIES
from visql_lib.plan.settled import Settled, told_apart, targets_of


def make_plan():
    """Check the settings and look at the raw folders, before anything runs.

    Only the main process looks; jobs take the exposure sheets as they are.
    """
    try:
        settings = settings_from_mapping(config, "configuration")
        if workflow.is_main_process:
            clear_dead_lock(Path(settings.results))
        return Plan.make(settings, refresh=workflow.is_main_process)
    except VisqlError as error:
        raise WorkflowError(str(error)) from None
    except OSError as error:  # results on a disk that is full, or may not be written
        raise WorkflowError(
            f"{error.filename or 'results'}: {error.strerror or error}"
        ) from None


def begin():
    """Hold the results as long as this process lives: two runs would undo each other's work."""
    global ALONE
    try:
        ALONE = begin_run(Path(RESULTS), PLAN.months)
    except VisqlError as error:
        raise WorkflowError(str(error)) from None
    except OSError as error:  # results on a disk that is full, or may not be written
        raise WorkflowError(
            f"{error.filename or 'results'}: {error.strerror or error}"
        ) from None


def tell_of_failure():
    """Do what was to tell of a run and had to wait for what failed: pages and alerts say what is missing, and why.

    Not if somebody stopped the run. A dead man's switch alone is not told: its silence tells.
    """
    if getattr(workflow.scheduler, "_user_kill", None):
        return
    told = PLAN.settings.alerts
    wanted = ["site", *(["alerts"] if told.webhook or told.mail_to else [])]
    waiting = list(workflow.dag.needrun_jobs())
    jobs = {job.rule.name: job for job in waiting}
    tellers = [jobs[name] for name in wanted if name in jobs]
    # A table that failed costs its own quantities, not all of its month: those that are there are judged.
    judges = [job for job in waiting if job.rule.name == "qc"] if tellers else []
    for job in judges + tellers:
        for path in (*job.log, *job.output):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["bash", "-c", job.shellcmd])


# Planning makes millions of objects that live to its end: searching them for garbage costs a sixth of it.
gc.set_threshold(200_000, 50, 1000)
PLAN = make_plan()
RESULTS = PLAN.settings.results
EXPOSURE = f"{RESULTS}/exposures/{{month}}/{{exposure}}/{{exposure}}"
MONTHS = f"{RESULTS}/months/{{month}}"
TIMELINE = f"{RESULTS}/timeline"
LOG = f"{RESULTS}/logs"
BENCHMARK = f"{RESULTS}/benchmarks"


wildcard_constraints:
    month=r"\d{6}",
    exposure=r"[^/]+",


def raw_frame(wildcards):
    """Return the raw frame of an exposure."""
    row = PLAN.row(wildcards.month, wildcards.exposure)
    if row is None:
        raise WorkflowError(
            f"{wildcards.exposure}: not in the exposure sheet of {wildcards.month}"
        )
    return row.file


EXPOSURES = [row.exposure for month in PLAN.months for row in PLAN.sheets[month]]


def these(exposures):
    """Return a regular expression of some of the exposures that there are."""
    return told_apart(exposures, EXPOSURES)


def only(*exposures):
    """Return a wildcard constraint: these exposures, without those that need no jobs."""
    return these(set(exposures) - SETTLED)


def all_but(*exposures):
    """Return a wildcard constraint: all exposures but these, and those that need no jobs."""
    return f"(?!(?:{these(SETTLED.union(exposures))})/)[^/]+"


MARKS = Settled(
    PLAN,
    targets_of(sys.argv) if workflow.is_main_process else None,
    [
        Path(workflow.basedir, "Snakefile"),
        *Path(workflow.basedir, "workflow/rules").glob("*.smk"),
    ],
)
SETTLED = MARKS.exposures


def unfinished_exposures():
    """Return the exposures with jobs that a run should have done and did not."""
    return {
        job.wildcards.exposure
        for job in workflow.dag.needrun_jobs()
        if "exposure" in job.wildcards.keys()
    }


NOT_CATALOGUED = PLAN.others(*CATALOGUED)
FLATS = PLAN.of_type("FLAT")
WITHOUT_RAW = PLAN.without_raw()


def sheet_value(name):
    """Return a function that gives one value of an exposure's row in the sheet."""

    def value(wildcards):
        row = PLAN.row(wildcards.month, wildcards.exposure)
        return "" if row is None else getattr(row, name)

    return value


def stem(wildcards):
    """Return the path of an exposure's products, without their endings."""
    return PLAN.stem(wildcards.month, wildcards.exposure)


def fingerprint(wildcards):
    """Return what changes when a raw frame is replaced (ancient() hides that from Snakemake)."""
    row = PLAN.row(wildcards.month, wildcards.exposure)
    return row.fingerprint if row is not None else ""


# The settings of calibration frames must not make all SCIENCE frames again.
SETTINGS_OF_SCIENCE = PLAN.config_of("catalog", "preview")
SETTINGS_OF_OTHERS = PLAN.config_of("catalog", "preview", "calibration")


def settings_of_frame(wildcards):
    """Return the file with the settings of an exposure's catalogue."""
    science = sheet_value("frame_type")(wildcards) == "SCIENCE"
    return SETTINGS_OF_SCIENCE if science else SETTINGS_OF_OTHERS


def of_months(products, part=None):
    """Return an input function: what `products` says of each month, worked out only for targets that are made.

    With a `part`, only if the default target makes that.
    """

    def found(wildcards):
        if part is not None and not PLAN.makes(part):
            return []
        return [path for month in PLAN.months for path in products(month)]

    return found


def without_gaps(*parts):
    """Return an input function: what is missing of some parts (none named: of those of the default target).

    Without, Snakemake leaves alone what is missing between files that are there.
    """
    return lambda _: missing(PLAN, parts or None)


def all_products(wildcards):
    """Return what stands for all products of the default target; not that no frame failed."""
    return [
        path
        for found in (
            of_months(PLAN.pictures),
            of_months(PLAN.quality),
            of_months(PLAN.qc),
            of_months(PLAN.gaia.month, "gaia"),
            of_months(PLAN.radiation.month, "radiation"),
            of_months(PLAN.radiation.movies, "movies"),
            of_months(PLAN.radiation.performance, "performance"),
            without_gaps(),
        )
        for path in found(wildcards)
    ] + products_of_all_months()


def products_of_all_months():
    """Return what stands for the products that the default target makes of all months together."""
    return [
        *PLAN.last_month(),
        *(PLAN.gaia.trend() if PLAN.makes("gaia") else []),
        *(PLAN.radiation.last_movie() if PLAN.makes("movies") else []),
    ]
