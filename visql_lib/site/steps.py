"""Find missing products of whole groups, by the job that should have made them, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visql_lib.products.expected import GroupJob
from visql_lib.qc.summary import ExposureSummary, MissingProducts


def missing_products(
    results: Path, exposures: Sequence[ExposureSummary], jobs: Sequence[GroupJob]
) -> list[MissingProducts]:
    """Find missing products of jobs, with the reason.

    Parameters
    ----------
    results : Path
        Folder of all products.
    exposures : sequence of ExposureSummary
        Of the group; none for jobs of all groups.
    jobs : sequence of GroupJob
    """
    found = []
    for job in jobs:
        if lost := tuple(path for path in job.paths if not Path(path).is_file()):
            reason, log = _reason(results, exposures, job)
            found.append(MissingProducts(job.rule, lost, reason, log, job.category))
    return found


def _reason(results: Path, exposures: Sequence[ExposureSummary], job: GroupJob) -> tuple[str, str]:
    """Explain why a job did not make its products, and find its log."""
    needs = [Path(path).name for path in job.needs if not Path(path).is_file()]
    ending = job.of_exposures
    short = [e.name for e in exposures if ending and e.name + ending in e.missing]
    if short:
        needs.append(f"{short[0]}{ending}" + f" and {len(short) - 1} more like it" * (len(short) > 1))
    last = last_log_line(results / job.log)
    if needs:
        return f"needs {', '.join(needs)}", job.log if last else ""
    return last_attempt(results, job.log)


def last_attempt(results: Path, log: str) -> tuple[str, str]:
    """Describe the last attempt of a job with all its inputs, from its log; and return the log, if any."""
    if last := last_log_line(results / log):
        return f"its log ends: {last}", log
    if (results / log).is_file():
        return "was made without a complaint, and is gone since", ""
    return "never tried: the workflow has not come to it", ""


def last_log_line(path: Path) -> str:
    """Read the last line of a log, "" where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2000))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:300] if lines else ""
