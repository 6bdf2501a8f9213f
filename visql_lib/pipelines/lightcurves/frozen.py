"""Choices that are made once and kept: reference, stars, model of the PSF, model of the scene."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from visql_lib.pipelines.lightcurves.grouping import SETS, S, T


@dataclass(frozen=True)
class FrozenChoice:
    """A choice: its product, and the stage that makes it where it is absent."""

    path: str
    stage: str


FROZEN = {
    "reference": FrozenChoice(f"{T}/reference.parquet", "lc_reference"),
    "stars": FrozenChoice(f"{S}/stars_{{set}}.parquet", "lc_stars"),
    "psf": FrozenChoice(f"{S}/psfmodel_{{set}}.parquet", "lc_psf_model"),
    "scene": FrozenChoice(f"{S}/scene_{{set}}.fits", "lc_scene"),
}


def frozen_path(results: Path, group: str, name: str) -> Path:
    """Return where a choice of a set, or of its target, is kept."""
    return results / FROZEN[name].path.format(**SETS.fields(group))


def thaw(results: Path, groups: Sequence[str], names: Collection[str]) -> Iterator[Path]:
    """Remove choices of some sets, so that the next run makes them anew; yield what was removed.

    Parameters
    ----------
    results : Path
        Folder of all products.
    groups : sequence of str
        Keys TARGET/SET.
    names : collection of str
        Keys of `FROZEN`.
    """
    for path in dict.fromkeys(frozen_path(results, group, name) for group in groups for name in names):
        if path.is_file():
            path.unlink()
            yield path
