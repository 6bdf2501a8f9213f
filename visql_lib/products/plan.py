"""The plan of a run: groups, exposures and their products, as the workflow needs them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from visql_lib.atomic import atomic_path
from visql_lib.config import Settings, find_data_file
from visql_lib.config.load import digest
from visql_lib.instruments.model import Instrument, load_instrument
from visql_lib.products.expected import Expected
from visql_lib.products.registry import FieldValues, Per, Registry, Stage
from visql_lib.products.status import exposure_states, failure_summary
from visql_lib.qc.limits import load_thresholds
from visql_lib.sheets.grouping import Grouping
from visql_lib.sheets.rules import SheetRules
from visql_lib.sheets.sheet import USABLE, WITHOUT_RAW, SheetRow, read_sheet


@dataclass(frozen=True)
class Plan:
    """The exposures of the configured groups, and the paths of their products.

    Parameters
    ----------
    settings : Settings
        Those of the pipeline.
    instrument : Instrument
        Its facts.
    registry : Registry
        The pipeline's stages and products.
    sheets : dict
        The rows of each group's sheet, by its key.
    """

    settings: Settings
    instrument: Instrument
    registry: Registry
    sheets: dict[str, list[SheetRow]]

    @classmethod
    def make(cls, settings: Settings, registry: Registry, rules: SheetRules, *, refresh: bool) -> Self:
        """Make the plan: index the raw folders (`refresh`), or read the sheets as they are, as a job does.

        Raises
        ------
        ConfigError
            If a raw folder does not exist, or settings, instrument or limits are wrong.
        """
        instrument, grouping = load_instrument(settings.instrument), registry.grouping
        cls.check(settings, instrument)
        wanted = settings.groups_at() or None  # None: all there are
        if not refresh:
            results = Path(settings.results)
            known = grouping.groups(results) if wanted is None else grouping.expanded(results, wanted)
            paths = {group: grouping.sheet_path(results, group) for group in known}
            sheets = {group: read_sheet(path) if path.is_file() else [] for group, path in paths.items()}
            return cls(settings, instrument, registry, sheets)
        load_thresholds(
            settings.thresholds, registry.quantities
        )  # wrong ones are reported before anything runs
        return cls(settings, instrument, registry, rules.refresh(settings, instrument, wanted))

    @classmethod
    def check(cls, settings: Settings, instrument: Instrument) -> None:
        """Check what the pipeline's settings and its instrument ask of each other, before anything runs."""

    def retry(self) -> None:
        """Arrange to repeat what failed before and has waited, such as queries of services."""

    @property
    def grouping(self) -> Grouping:
        """How frames are grouped."""
        return self.registry.grouping

    @cached_property
    def words(self) -> FieldValues:
        """The values of the fields of paths."""
        return self.registry.words(self.instrument)

    def words_of(self, group: str) -> FieldValues:
        """Return the values of the fields of a group's paths, where its own frames decide some of them."""
        return self.words

    @property
    def results(self) -> str:
        """Folder of all products."""
        return self.settings.results

    @property
    def parts(self) -> Sequence[str]:
        """The parts enabled by the settings."""
        return self.settings.parts

    def instrument_of(self, group: str) -> Instrument:
        """Return the camera of a group's frames."""
        return self.instrument

    def is_kept(self, path: Path) -> bool:
        """Say whether a product is a choice that is made once: other inputs do not make it outdated."""
        return False

    def groups(self) -> list[str]:
        """List the configured groups."""
        return list(self.sheets)

    def rows(self, group: str) -> list[SheetRow]:
        """Select the rows of a group's sheet with a usable raw frame."""
        return [row for row in self.sheets.get(group, []) if row.status in USABLE]

    @cached_property
    def _rows(self) -> dict[tuple[str, str], SheetRow]:
        return {(group, row.exposure): row for group, rows in self.sheets.items() for row in rows}

    def row(self, group: str, exposure: str) -> SheetRow | None:
        """Find the row of an exposure in the sheet, None if it has none."""
        return self._rows.get((group, exposure))

    def exposures(self, group: str, *types: str) -> list[str]:
        """Select the exposures of a group with a usable raw frame, of some types (none named: of all)."""
        rows = self.sheets.get(group, [])
        return [r.exposure for r in rows if r.status in USABLE and (not types or r.frame_type in types)]

    def of_type(self, *types: str) -> list[str]:
        """Select the exposures of all groups that have a raw frame of one of these types."""
        return [r.exposure for rows in self.sheets.values() for r in rows if r.file and r.frame_type in types]

    def not_of_type(self, *types: str) -> list[str]:
        """Select the exposures of all groups that have a raw frame of any other type."""
        return [
            r.exposure for rows in self.sheets.values() for r in rows if r.file and r.frame_type not in types
        ]

    def without_raw(self) -> list[str]:
        """Select the exposures of all groups that have tables but no raw frame."""
        return [r.exposure for rows in self.sheets.values() for r in rows if r.status in WITHOUT_RAW]

    def stem(self, group: str, exposure: str) -> str:
        """Compose the path of an exposure's products, without their endings."""
        return self.grouping.stem(self.results, group, exposure)

    def folder(self, group: str, exposure: str) -> str:
        """Compose the folder of an exposure's products."""
        return os.path.dirname(self.stem(group, exposure))  # noqa: PTH120 - two thousand times

    def folders(self) -> list[Path]:
        """List the folders of all that is made: those of the groups, and of products of all groups."""
        results = Path(self.results)
        found = dict.fromkeys(f for group in self.groups() for f in self.grouping.folders(results, group))
        of_all = (product.path for stage in self.registry.of(Per.ALL) for product in stage.outputs)
        return [*found, *dict.fromkeys((results / path).parent for path in of_all)]

    def common(self) -> str:
        """Hash what all jobs share: settings and the instrument."""
        return digest(self.settings.model_dump(mode="json", exclude={self.grouping.plural}), self.instrument)

    def outside_files(self, group: str, row: SheetRow) -> list[str]:
        """List the shared inputs of an exposure's products, such as tables of reference stars."""
        return []

    def outside_products(self, group: str, exposure: str) -> list[str]:
        """List an exposure's products in other folders."""
        return []

    def site_products(self, group: str) -> list[str]:
        """List files of the site that stages make of a group's exposures."""
        return []

    def kept_pictures(self, group: str) -> list[str]:
        """List the missing pictures of exposures that have tables but no raw frame."""
        return []

    def existing_without_raw(self, group: str, ending: str) -> list[str]:
        """List the existing tables of one kind of exposures without raw frame."""
        rows = [r for r in self.sheets.get(group, []) if r.status in WITHOUT_RAW]
        paths = [self.stem(group, r.exposure) + ending for r in rows]
        return [path for path in paths if Path(path).is_file()]

    def products(self, stage: str, group: str, exposures: Sequence[str]) -> list[str]:
        """List the first product of a stage for each exposure; it represents all products of the stage."""
        ending = self.registry[stage].endings[0]
        return [self.stem(group, exposure) + ending for exposure in exposures]

    def paths(self, stage: str, group: str = "") -> list[str]:
        """List the files that a stage makes for a group, or for all groups."""
        known = self.grouping.fields(group) if group else {}
        paths = self.registry.paths(self.registry[stage], self.words_of(group), **known)
        return [f"{self.results}/{path}" for path in paths]

    @cached_property
    def _listings(self) -> dict[str, frozenset[str]]:
        return {}

    def files(self, group: str, exposure: str) -> frozenset[str]:
        """List the names of an exposure's files; its folder is read once."""
        folder = self.folder(group, exposure)
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))  # noqa: PTH208
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]

    def inputs(self, stage: str, group: str) -> list[str]:
        """List the requested products of groups that a group's stage reads."""
        return self._expected.inputs(stage, group)

    @cached_property
    def _expected(self) -> Expected:
        return Expected(self)

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(type(self.settings).model_fields)

    def config_of(self, *sections: str) -> str:
        """Write a file with some sections of the settings, which is all that a rule's command sees.

        The name changes with the content, so that a rule that carries it in its
        ``params`` runs again exactly when one of its own settings changed.
        """
        values = self.values(*sections)
        return self._written("-".join((*sections, digest(values))), values)

    def params(self, stage: str) -> dict[str, Any]:
        """Compose the ``params`` of a stage's rule: everything that changes its result.

        Its version, the file of its settings, a hash of the settings that count where not all of them do,
        and a hash of the instrument's facts.
        """
        made = self.registry[stage]
        found: dict[str, Any] = {"version": made.version}
        if set(made.counted) & set(made.settings):
            found["config"] = self.stable_config(stage, *made.settings)
            found["settings"] = self._counted(made)
        else:
            found["config"] = self.config_of(*made.settings)
        if made.facts:
            found["facts"] = self.facts(*made.facts)
        return found

    def _counted(self, stage: Stage) -> str:
        """Hash the settings that change a stage's result."""
        some = [
            repr(getattr(getattr(self.settings, section), name))
            for section, names in stage.counted.items()
            for name in names
        ]
        return digest(self.values(*(s for s in stage.settings if s not in stage.counted)), *some)

    def stable_config(self, name: str, *sections: str) -> str:
        """Write a file as `config_of` does, but with a fixed name: changed settings do not rerun its rule."""
        return self._written(name, self.values(*sections))

    def values(self, *sections: str) -> dict[str, Any]:
        """Dump some sections of the settings as plain values."""
        return self.settings.only(*sections)

    def _written(self, name: str, values: dict[str, Any]) -> str:
        import yaml

        path = Path(self.settings.results) / "config" / f"{name}.yaml"
        content = yaml.safe_dump(values)
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            with atomic_path(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
            if "alerts" in values:  # a webhook's address may be a secret
                path.chmod(0o600)
        return str(path)

    def facts(self, *names: str) -> str:
        """Hash some of the instrument's facts."""
        return digest(self.instrument.model_dump(mode="json", include=set(names)))

    def run_messages(self) -> str:
        """Compose the messages after a successful run, such as of empty groups."""
        if empty := [group for group, rows in self.sheets.items() if not rows]:
            return f"No products of {', '.join(empty)}: no exposures in {', '.join(self.settings.raw)}"
        return ""

    def failure_summary(self) -> str:
        """Summarise failures in the configured groups, one exposure per line; "" if there are none."""
        results = Path(self.results)
        return failure_summary(
            [s for group in self.groups() for s in exposure_states(self.registry, results, group)],
            self.registry.advice,
        )

    @property
    def threshold_file(self) -> str:
        """The file of dated limits."""
        return str(find_data_file("thresholds", self.settings.thresholds))
