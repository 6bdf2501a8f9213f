"""What whole months should have, by the step that makes it, and why some of it is not there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from visql_lib.site.model import Exposure, StepLack

_NAMED = 3


@dataclass(frozen=True)
class Step:
    """A rule that makes products of a month, or of all months.

    Parameters
    ----------
    rule : str
        Its name.
    paths : tuple of str
        Its products, as the workflow names them.
    log : str
        Its log, relative to the folder of results.
    needs : tuple of str, optional
        Products of other such rules that it cannot do without.
    of_exposures : str, optional
        Ending of the product that it wants of every exposure which should have one.
    """

    rule: str
    paths: tuple[str, ...]
    log: str
    needs: tuple[str, ...] = ()
    of_exposures: str = ""


def lost_products(results: Path, exposures: Sequence[Exposure], steps: Sequence[Step]) -> list[StepLack]:
    """Return what steps should have made and is not there, with the reason.

    Parameters
    ----------
    results : Path
        Folder of all products.
    exposures : sequence of Exposure
        Of the month; none for steps of all months.
    steps : sequence of Step
    """
    found = []
    for step in steps:
        if lost := tuple(path for path in step.paths if not Path(path).is_file()):
            reason, log = _reason(results, exposures, step)
            found.append(StepLack(step.rule, lost, reason, log))
    return found


def _reason(results: Path, exposures: Sequence[Exposure], step: Step) -> tuple[str, str]:
    """Say why a step did not make its products, and where its log is."""
    needs = [Path(path).name for path in step.needs if not Path(path).is_file()]
    ending = step.of_exposures
    short = [e.name for e in exposures if ending and e.name + ending in e.missing]
    if short:
        needs.append(f"{short[0]}{ending}" + f" and {len(short) - 1} more like it" * (len(short) > 1))
    last = last_line(results / step.log)
    if needs:
        return f"needs {', '.join(needs)}", step.log if last else ""
    return tried(results, step.log)


def tried(results: Path, log: str) -> tuple[str, str]:
    """Say from its log what came of a step that lacked nothing; and where the log is, if it tells."""
    if last := last_line(results / log):
        return f"its log ends: {last}", log
    if (results / log).is_file():
        return "was made without a complaint, and is gone since", ""
    return "never tried: the workflow has not come to it", ""


def last_line(path: Path) -> str:
    """Return the last line of a log, "" where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2000))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:300] if lines else ""


def workflow_command(paths: Sequence[str], months: str, results: str, config: str) -> str:
    """Return the command by which the workflow makes products with all they need.

    Parameters
    ----------
    paths : sequence of str
        As the workflow names them.
    months : str
        Which months it is to look at, YYYYMM[,...].
    results, config : str
        Folder of results and file of settings, "" for none.
    """
    words = ["snakemake", *paths]
    if config:
        words += ["--configfile", config]
    words += ["--config", f"months={months}"]
    return shlex.join(words if config else [*words, f"results={results}"])


def said(lack: StepLack) -> str:
    """Return which products are lost, in words."""
    names = [Path(path).name for path in lack.paths]
    return f"{', '.join(names[:_NAMED])}" + f" and {len(names) - _NAMED} more" * (len(names) > _NAMED)
