"""A bundle: chosen groups or exposures with their pictures in one folder, to zip and send."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from visql_lib.atomic import atomic_path
from visql_lib.config import Settings
from visql_lib.errors import ConfigError
from visql_lib.pipelines import registry_of
from visql_lib.qc.summary import GroupSummary
from visql_lib.site.build import build
from visql_lib.site.links import BundleLinks
from visql_lib.site.state import STATE, BuildResult
from visql_lib.site.thumbs import webps


def chosen(groups: Sequence[GroupSummary], names: Collection[str]) -> list[GroupSummary]:
    """Select some exposures of the groups; none named: all.

    Raises
    ------
    ConfigError
        If there is no such exposure.
    """
    if not names:
        return list(groups)
    known = {e.name for group in groups for e in group.exposures}
    if unknown := set(names) - known:
        raise ConfigError(f"no exposure {min(unknown)} in {', '.join(m.name for m in groups) or 'no group'}")
    found = [replace(m, exposures=tuple(e for e in m.exposures if e.name in names)) for m in groups]
    return [group for group in found if group.exposures]


def bundle(
    results: Path,
    out: Path,
    groups: Sequence[GroupSummary],
    expected: Mapping[str, Sequence[str]],
    settings: Settings,
    *,
    config: str = "",
    now: datetime | None = None,
) -> BuildResult:
    """Write a bundle.

    Parameters
    ----------
    results : Path
        Folder of all products.
    out : Path
        Where to: a new or empty folder, or an old bundle, which is replaced.
    groups : sequence of GroupSummary
        What to show; see `chosen`.
    expected, settings, config, now
        As for `build`.

    Raises
    ------
    ConfigError
        If the folder holds something else.
    """
    _clear(out)
    links = BundleLinks(results, out, registry_of(settings).grouping.frame)
    tiles = results / "site" / "tiles"
    for group in groups:
        for e in group.exposures:
            if (tiles / group.name / e.name).is_dir():
                shutil.copytree(tiles / group.name / e.name, out / "tiles" / group.name / e.name)
    alerts = results / "site" / "alerts.json"
    if alerts.is_file():
        shutil.copyfile(alerts, out / "alerts.json")
    built = build(results, groups, expected, settings, config=config, links=links, now=now)
    for product, path in links.wanted.items():
        if not path.endswith(".webp"):
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results / product, out / path)
            built.written.append(path)
    pictures = {results / product: path for product, path in links.wanted.items() if path.endswith(".webp")}
    for source, content in webps(list(pictures)):
        if content is not None:
            with atomic_path(out / pictures[source]) as temporary:
                temporary.write_bytes(content)
            built.written.append(pictures[source])
    return built


def _clear(out: Path) -> None:
    """Empty the folder of an old bundle; refuse any other that is not empty."""
    if not out.is_dir():
        out.mkdir(parents=True)
    elif any(out.iterdir()):
        if not (out / STATE).is_file() or (out / "exposures").is_symlink() or (out / "watch").exists():
            raise ConfigError(f"{out}: is neither empty nor a bundle; name another folder")
        shutil.rmtree(out)
        out.mkdir()
