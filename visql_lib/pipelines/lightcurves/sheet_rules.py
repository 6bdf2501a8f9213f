"""The exposure sheets of the light curves: a set of a target has the frames of its own folders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Self

from visql_lib.config import Settings
from visql_lib.errors import ConfigError
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import FrameName, NamePattern
from visql_lib.pipelines.lightcurves.configured import load_targets, remember
from visql_lib.pipelines.lightcurves.grouping import SETS
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.target_file import TEST, Target
from visql_lib.sheets.nights import NOON, boundary_for, boundary_of
from visql_lib.sheets.rules import SheetRules
from visql_lib.sheets.sheet import OK, PRODUCT, SheetRow


def noon_of(camera: Instrument) -> float:
    """Return local noon [h UTC] where a camera is: by its site, its night; else 12 h."""
    if camera.has("site"):
        return boundary_of(camera.site.longitude)
    boundary = boundary_for(camera)
    return NOON if boundary is None else boundary


class SetSheets(SheetRules):
    """Sheets of sets: each is made with the camera and from the folders that the target's file names."""

    def __init__(self) -> None:
        super().__init__(SETS, "")
        self._key = ""
        self._only: Collection[str] | None = None

    def of_set(self, key: str, only: Collection[str] | None = None) -> Self:
        """Return the rules for one set, of all its frames or of `only` some."""
        found = copy(self)
        found._key, found._only = key, only
        return found

    def group_of_name(self, name: FrameName) -> str:
        """Return the set; "" of a camera whose names do not tell the start, as rows do for it."""
        return "" if name.start is None else self._key

    def group_of_row(self, row: SheetRow) -> str:
        """Return the set."""
        return self._key

    def has_products(self, results: Path, group: str, exposure: str) -> bool:
        """Keep no rows of frames whose files are gone: what is not in the folders is not in the curve."""
        return False

    def settle(
        self, rows: dict[str, SheetRow], names: NamePattern, rebuild: Callable[[str], SheetRow]
    ) -> None:
        """Take calibrated frames for what they are here: the frames to be measured."""
        for name in list(rows):
            if self._only is not None and name not in self._only:
                del rows[name]
            elif rows[name].status == PRODUCT:
                rows[name] = replace(rows[name], status=OK, reason="")

    def refresh(
        self,
        settings: Settings,
        instrument: Instrument,
        groups: Sequence[str] | None,
        on_read: Callable[[], None] = lambda: None,
    ) -> dict[str, list[SheetRow]]:
        """Bring the sheets of sets up to date, each with its own camera and folders.

        Raises
        ------
        ConfigError
            If the file of a target or a camera is wrong, or a folder does not exist: one line for each.
        """
        assert isinstance(settings, LightCurveSettings)
        keys = settings.groups_at() if groups is None else list(groups)
        targets = load_targets(settings.model_copy(update={"targets": tuple(keys) + settings.targets}))
        cameras = check_sets(targets, keys)
        sheets: dict[str, list[SheetRow]] = {}
        for key in keys:
            target, name = target_of(targets, key), key.partition("/")[2]
            own = settings.model_copy(update={"raw": target.raw_of(name)})
            only = target.test_frames() if is_test(key) else None
            rules = self.of_set(key, only)
            sheets |= super(SetSheets, rules).refresh(own, cameras[key], [key], on_read)
        remember(Path(settings.results), targets.values())
        return sheets


def is_test(key: str) -> bool:
    """Say whether a set is that of the frames of a test list."""
    return key.partition("/")[0].endswith(TEST)


def target_of(targets: dict[str, Target], key: str) -> Target:
    """Return the target of a set's key.

    Raises
    ------
    ConfigError
        If it is none of them, or has no such set.
    """
    name, _, part = key.partition("/")
    target = targets.get(name.removesuffix(TEST))
    if target is None or part not in target.sets:
        raise ConfigError(f"targets: no set {key!r}")
    return target


def check_sets(targets: dict[str, Target], keys: Sequence[str]) -> dict[str, Instrument]:
    """Return the cameras of sets.

    Raises
    ------
    ConfigError
        If a camera's file is wrong or a folder of raw frames does not exist: one line for each.
    """
    problems, cameras = [], {}
    for key in keys:
        target, name = target_of(targets, key), key.partition("/")[2]
        try:
            cameras[key] = target.camera(name)
        except ConfigError as error:
            problems.append(f"{target.file}: sets.{name}.camera: {error}")
        problems += [
            f"{target.file}: sets.{name}.raw: folder {folder!r} does not exist"
            for folder in target.raw_of(name)
            if not Path(folder).is_dir()
        ]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return cameras


RULES: SheetRules = SetSheets()
