from snakemake.exceptions import WorkflowError

from visql_lib.config import STAGES, settings_from_mapping
from visql_lib.errors import VisqlError
from visql_lib.plan import Plan


def make_plan():
    """Check the settings and look at the raw folders, before anything runs.

    Only the main process looks; jobs take the exposure sheets as they are.
    """
    try:
        return Plan.make(settings_from_mapping(config, "configuration"), refresh=workflow.is_main_process)
    except VisqlError as error:
        raise WorkflowError(str(error)) from None


PLAN = make_plan()
RESULTS = PLAN.settings.results
CONFIG = PLAN.write_config()
EXPOSURE = f"{RESULTS}/exposures/{{month}}/{{exposure}}/{{exposure}}"
MONTHS = f"{RESULTS}/months/{{month}}"
LOG = f"{RESULTS}/logs"
BENCHMARK = f"{RESULTS}/benchmarks"
ZOOMS = ["tl", "tc", "tr", "cl", "cc", "cr", "ll", "lc", "lr"]


wildcard_constraints:
    month=r"\d{6}",
    exposure=r"[^/]+",


def raw_frame(*types):
    """Return an input function: the raw frame of an exposure, refused for other frame types."""

    def path_of(wildcards):
        row = PLAN.row(wildcards.month, wildcards.exposure)
        if row is None or not row.file:
            raise WorkflowError(f"{wildcards.exposure}: no raw frame in the exposure sheet")
        if types and row.frame_type not in types:
            raise WorkflowError(f"{wildcards.exposure}: a {row.frame_type} frame")
        return row.file

    return path_of


def fingerprint(wildcards):
    """Return what changes when a raw frame is replaced (its time alone does not count)."""
    row = PLAN.row(wildcards.month, wildcards.exposure)
    return row.fingerprint if row is not None else ""
