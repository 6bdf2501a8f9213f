"""`visql verify`: are the products of a group what the settings ask for, whole, and up to date?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import settings_of_any, step

if TYPE_CHECKING:
    from visql_lib.workflow.verify import Finding

_SHOWN = 40  # problems; if there are more, those of the same kind and reason are grouped
_ADVICE = {
    "missing": "run the workflow; if it does not make the file, give it as a target: snakemake ... -- FILE",
    "stale": "run the workflow; for files that it does not remake see docs/provenance.md",
    "damaged": "delete the file and run the workflow; if it does not make the file, give it as a target",
    "foreign": "move the file away",
}


@step(
    "verify",
    """Check all products of GROUP, named as its sheet is, and list those that are

    \b
    missing   expected with these settings, but not there
    damaged   truncated; with --deep, also changed since they were written
    stale     made with another stage version, setting, instrument fact or input
    foreign   made by no rule

    More than 40 problems are summarised in groups; --json lists them all. The exit code
    is 1 if there is a problem. No file is changed.""",
    "visql verify 202407 --config config/config.yaml",
)
@click.argument("group")
@click.option(
    "--deep", is_flag=True, help="Read all products and raw frames completely and compare checksums."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(group: str, deep: bool, as_json: bool, config: Path | None) -> int:
    """Check the products and report the problems."""
    from visql_lib.errors import ConfigError
    from visql_lib.pipelines import make_plan, registry_of
    from visql_lib.workflow.verify import Verification

    settings = settings_of_any(config)
    grouping = registry_of(settings).grouping
    if not grouping.is_key(group):
        raise click.BadParameter(
            f"{group!r} is not a {grouping.kind}: write {grouping.label}", param_hint="GROUP"
        )
    if not (sheet := grouping.sheet_path(Path(settings.results), group)).is_file():
        raise ConfigError(
            f"{sheet}: no exposure sheet of {group}; is this the right results folder? Give --config"
        )
    plan = make_plan(settings.model_copy(update={grouping.plural: (group,)}), refresh=False)
    look = Verification(plan, group, deep)
    found = list(look.findings())
    if as_json:
        rows = [finding._asdict() for finding in found]
        click.echo(json.dumps({"group": group, "products": look.seen, "findings": rows}, indent=2))
    else:
        click.echo(_report(group, look.seen, found))
    return int(bool(found))


def _report(group: str, seen: int, found: Sequence[Finding]) -> str:
    """Return the problems as lines, with advice for each kind."""
    if not found:
        return f"{seen} products of {group}, all well"
    rows = [(f.kind, f.product, f.reason) for f in found]
    if len(rows) > _SHOWN:
        rows = _gathered(found)
    wide = max(len(product) for _, product, _ in rows)
    lines = [f"{kind:<8} {product:<{wide}}  {reason}" for kind, product, reason in rows]
    numbers = Counter(finding.kind for finding in found)
    lines.append(f"{seen} products of {group}: " + ", ".join(f"{n} {kind}" for kind, n in numbers.items()))
    return "\n".join(lines + [f"  {kind}: {_ADVICE[kind]}" for kind in numbers])


def _gathered(found: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """Return one row for all problems of the same kind and reason, with the name of the first product."""
    groups: dict[tuple[str, str], list[str]] = {}
    for finding in found:
        groups.setdefault((finding.kind, finding.reason), []).append(Path(finding.product).name)
    return [
        (kind, names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else ""), reason)
        for (kind, reason), names in groups.items()
    ]
