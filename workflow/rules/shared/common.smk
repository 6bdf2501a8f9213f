import gc
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from visql_lib import pipelines
from visql_lib.errors import VisqlError
from visql_lib.workflow.run_lock import lock_results, remove_stale_lock, record_end
from visql_lib.workflow.requested import prefix_regex, requested_targets
from visql_lib.products.expected import Expected
from visql_lib.products.up_to_date import UpToDateCache


def make_plan():
    """Check the settings and index the raw folders, before anything runs.

    Only the main process looks; jobs take the exposure sheets as they are.
    """
    try:
        settings = pipelines.settings_from_mapping(config, "configuration")
        if workflow.is_main_process:
            remove_stale_lock(Path(settings.results))
        return pipelines.make_plan(settings, refresh=workflow.is_main_process)
    except VisqlError as error:
        raise WorkflowError(str(error)) from None
    except OSError as error:  # results on a disk that is full, or may not be written
        raise WorkflowError(
            f"{error.filename or 'results'}: {error.strerror or error}"
        ) from None


def begin():
    """Lock the results as long as this process lives: two runs would undo each other's work."""
    global RUN_LOCK
    try:
        RUN_LOCK = lock_results(Path(RESULTS), PLAN.folders())
    except VisqlError as error:
        raise WorkflowError(str(error)) from None
    except OSError as error:  # results on a disk that is full, or may not be written
        raise WorkflowError(
            f"{error.filename or 'results'}: {error.strerror or error}"
        ) from None


def report_failure():
    """Run the reporting jobs that a failure kept waiting: pages and alerts show what is missing, and why.

    Not if the run was interrupted. A heartbeat URL is not called: the missing call is the alarm.
    """
    if getattr(workflow.scheduler, "_user_kill", None):
        return
    told = PLAN.settings.alerts
    wanted = ["site", *(["alerts"] if told.webhook or told.mail_to else [])]
    waiting = list(workflow.dag.needrun_jobs())
    jobs = {job.rule.name: job for job in waiting}
    tellers = [jobs[name] for name in wanted if name in jobs]
    # A failed table costs only its own quantities: those of the other tables are evaluated.
    judges = [job for job in waiting if job.rule.name == "qc"] if tellers else []
    for job in judges + tellers:
        for path in (*job.log, *job.output):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["bash", "-c", job.shellcmd])


# Planning makes millions of long-lived objects: garbage collection would take a sixth of the time.
gc.set_threshold(200_000, 50, 1000)
PLAN = make_plan()
RESULTS = PLAN.settings.results
GROUPING = PLAN.registry.grouping
EXPOSURE = f"{RESULTS}/{GROUPING.frame}"
GROUP = f"{RESULTS}/{GROUPING.folder}"
SHEET = f"{RESULTS}/{GROUPING.sheet}"
LOG = f"{RESULTS}/logs"
BENCHMARK = f"{RESULTS}/benchmarks"


# Shared parts of rules come from the registry of stages: visql_lib/pipelines/PIPELINE/registry.py.
def log_file(stage):
    """Compose the log of a stage, with its rule's wildcards."""
    log = PLAN.registry[stage].log_pattern.replace("{group}", GROUPING.wildcards)
    return f"{RESULTS}/{log}"


def benchmark_file(stage):
    """Compose the benchmark file of a stage, with its rule's wildcards."""
    log = log_file(stage).removeprefix(LOG)
    return BENCHMARK + log.removesuffix(".log") + ".tsv"


def stage_params(stage, **others):
    """Compose the params of a stage, whose changes rerun its jobs (versions, settings, facts), and others."""
    return PLAN.params(stage) | others


def pictures_of(stage):
    """List the pictures that a stage makes of an exposure, with its rule's wildcards."""
    return [
        f"{EXPOSURE}{end}"
        for end in PLAN.registry[stage].endings
        if end.endswith(".png")
    ]


wildcard_constraints:
    **GROUPING.names,
    exposure=r"[^/]+",


def group_of(wildcards):
    """Return the key of the group that a rule's wildcards name."""
    return GROUPING.key({name: getattr(wildcards, name) for name in GROUPING.names})


def row_of(wildcards):
    """Find the row of an exposure in its sheet, None if it has none."""
    return PLAN.row(group_of(wildcards), wildcards.exposure)


def raw_frame(wildcards):
    """Find the raw frame of an exposure."""
    row = row_of(wildcards)
    if row is None:
        raise WorkflowError(
            f"{wildcards.exposure}: not in the exposure sheet of {group_of(wildcards)}"
        )
    return row.file


EXPOSURES = [row.exposure for group in PLAN.groups() for row in PLAN.sheets[group]]


def regex_of(exposures):
    """Build a regular expression that matches exactly these exposures."""
    return prefix_regex(exposures, EXPOSURES)


def only_exposures(*exposures):
    """Build a wildcard constraint: only these exposures, without those that are up to date."""
    return regex_of(set(exposures) - UP_TO_DATE)


def except_exposures(*exposures):
    """Build a wildcard constraint: all exposures except these, and those that are up to date."""
    return f"(?!(?:{regex_of(UP_TO_DATE.union(exposures))})/)[^/]+"


CACHE = UpToDateCache(
    PLAN,
    (
        requested_targets(sys.argv, PLAN.registry.default_target)
        if workflow.is_main_process
        else None
    ),
    [
        Path(workflow.basedir, "Snakefile"),
        *Path(workflow.basedir, "workflow/rules").rglob("*.smk"),
    ],
)
UP_TO_DATE = CACHE.exposures


def unfinished_exposures():
    """Find the exposures with jobs that a run should have done and did not."""
    return {
        job.wildcards.exposure
        for job in workflow.dag.needrun_jobs()
        if "exposure" in job.wildcards.keys()
    }


def sheet_value(name):
    """Make an input function for one value of an exposure's row in the sheet."""

    def value(wildcards):
        row = row_of(wildcards)
        return "" if row is None else getattr(row, name)

    return value


def stem(wildcards):
    """Compose the path of an exposure's products, without their endings."""
    return PLAN.stem(group_of(wildcards), wildcards.exposure)


def fingerprint(wildcards):
    """Look up the fingerprint of a raw frame, to detect its replacement (hidden from Snakemake by ancient())."""
    row = row_of(wildcards)
    return row.fingerprint if row is not None else ""


@cache
def products_of(*targets):
    """Make an input function for all products of some targets (none named: of the default one).

    Beside the last products of each chain, what is missing: Snakemake leaves alone what is missing
    between files that are there.
    """

    @cache
    def paths():
        expected = Expected(PLAN, targets or None)
        return [*expected.ends(), *expected.missing()]

    return lambda wildcards: paths()


def all_products(wildcards):
    """List files that represent all products of the default target, even if frames failed."""
    kept = [path for group in PLAN.groups() for path in PLAN.kept_pictures(group)]
    return products_of()(wildcards) + kept


def missing_of(*targets):
    """Make an input function for missing products of some targets from which something was made."""
    return lambda wildcards: [*Expected(PLAN, targets).missing()]


def of_groups(products):
    """Make an input function for `products` of every group, evaluated only if a target needs it."""
    return lambda wildcards: [
        path for group in PLAN.groups() for path in products(group)
    ]


onstart:
    begin()


onsuccess:
    CACHE.keep()
    record_end(Path(RESULTS))
    if PLAN.run_messages():
        logger.warning(PLAN.run_messages())


onerror:
    CACHE.keep(unfinished_exposures())
    report_failure()
    record_end(Path(RESULTS))
    logger.error(PLAN.failure_summary())
