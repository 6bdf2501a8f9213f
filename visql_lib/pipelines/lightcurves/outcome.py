"""What is said at the end of a run: which frames were left out, why targets stopped, what is frozen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.errors import TableError
from visql_lib.pipelines.lightcurves.frozen import FROZEN, frozen_path
from visql_lib.pipelines.lightcurves.grouping import SETS
from visql_lib.pipelines.lightcurves.set_tables import SetTables
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.tables.provenance import read_record

if TYPE_CHECKING:
    from visql_lib.products.registry import Registry

_BEGUN = time.time()  # of this process: older logs are of other runs
_SAID = "visql: "  # how a command begins its last line if it fails
_NAMED = 4  # frames of a message


def left_out(results: Path, group: str) -> Iterator[str]:
    """Yield one line for each reason why frames of a set were left out, with their names."""
    tables = SetTables(SETS.group_folder(results, group))
    found: dict[str, tuple[str, str]] = {}
    for table in (tables.frames, tables.transforms, tables.psf):
        rows = zip(*(table[name].tolist() for name in ("FRAME", "STATUS", "REASON")), strict=True)
        for name, status, reason in rows:
            if status != LightStatus.OK:
                found.setdefault(name, (status, reason))
    by_status: dict[tuple[str, str], list[str]] = {}
    for name, said in found.items():
        by_status.setdefault(said, []).append(name)
    for (status, reason), names in sorted(by_status.items()):
        shown = ", ".join(names[:_NAMED]) + f" and {len(names) - _NAMED} more" * (len(names) > _NAMED)
        yield f"{group}: {status}: {shown}: {reason or 'no reason given'}"


def failed_jobs(results: Path, groups: Sequence[str]) -> Iterator[str]:
    """Yield what the failed jobs of sets and their targets said last, in the order of time."""
    logs: dict[Path, str] = {}
    for group in groups:
        target = group.partition("/")[0]
        for pattern, what in (
            (f"*/{group}.log", group),
            (f"*/{group}/*.log", group),
            (f"*/{target}.log", target),
        ):
            logs |= dict.fromkeys((results / "logs").glob(pattern), what)
    for path, what in sorted(logs.items(), key=lambda item: item[0].stat().st_mtime):
        if path.stat().st_mtime < _BEGUN:
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines and lines[-1].startswith(_SAID):
            stage = path.relative_to(results / "logs").parts[0]
            said = lines[-1].removeprefix(_SAID)
            yield f"{what}: stopped by {stage}: {said.removeprefix(f'{what}: ')}"


def frozen_notes(results: Path, groups: Sequence[str], registry: Registry) -> Iterator[str]:
    """Yield a line for each frozen choice that was made by another version of its stage."""
    seen: set[Path] = set()
    for group in groups:
        for name, choice in FROZEN.items():
            path = frozen_path(results, group, name)
            if path in seen or not path.is_file():
                continue
            seen.add(path)
            try:
                made = read_record(path).get("stages", {}).get(choice.stage)
            except TableError:
                continue
            if made is not None and made != registry.versions[choice.stage]:
                of = group if "{set}" in choice.path else group.partition("/")[0]
                yield (
                    f"{of}: {path.name} was chosen by version {made} of {choice.stage} and is kept; "
                    f"visql lc-thaw {of} {name} lets it be chosen anew"
                )
