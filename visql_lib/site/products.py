"""Titles, groups and commands of the products of an exposure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from visql_lib.config import Settings
from visql_lib.products.page_parts import workflow_command
from visql_lib.products.pages import Pages
from visql_lib.products.registry import Per, Product, Registry, Stage
from visql_lib.sheets.sheet import SheetRow

TABLES, OTHERS = "Tables", "Other files"


def product_of(registry: Registry, ending: str) -> Product:
    """Look up a product; one without a title is just a file."""
    known = registry.frame_products.get(ending)
    return known if known is not None and known.title else Product("{exposure}" + ending, "", section=OTHERS)


def stage_of(registry: Registry, ending: str, row: SheetRow) -> Stage | None:
    """Find the stage that makes a product of an exposure, of those whose commands are shown."""
    stages = [
        stage
        for stage in registry.of(Per.FRAME)
        if stage.command and ending in stage.endings and stage.needs_raw == bool(row.file)
    ] or [stage for stage in registry.of(Per.FRAME) if stage.command and ending in stage.endings]
    fitting = [stage for stage in stages if _fits(stage, row)]
    return next(iter(fitting or stages), None)


def _fits(stage: Stage, row: SheetRow) -> bool:
    return not stage.types or row.frame_type in stage.types


def log_of(stage: Stage, row: SheetRow, group: str) -> str:
    """Compose the path of a stage's log, relative to the results."""
    return stage.log_pattern.format(group=group, exposure=row.exposure)


def category_of(registry: Registry, ending: str, row: SheetRow, pages: Pages) -> str:
    """Look up the category whose status a missing product changes."""
    stage = stage_of(registry, ending, row)
    return pages.missing_category(registry, ending, row, stage.category if stage is not None else "")


@dataclass(frozen=True)
class Commands:
    """Writes the commands of one exposure.

    ``config`` is the file of settings they get, "" for none; ``metas`` what its
    metadata of the tables, by ending.
    """

    registry: Registry
    row: SheetRow
    group: str
    settings: Settings
    config: str
    metas: Mapping[str, Mapping[str, Any]]

    @property
    def stem(self) -> str:
        """The path of the products without their endings, relative as in the workflow."""
        name = self.row.exposure
        return self.registry.grouping.stem(self.settings.results, self.group, name)

    def of(self, stage: Stage) -> str:
        """Compose the command of a stage, to paste into a shell."""
        values = self.registry.values(self)
        words: list[str] = []
        for word in stage.command.split():
            value = values.get(word[1:-1]) if word.startswith("{") and word.endswith("}") else None
            words += value if isinstance(value, list) else [word.format_map(values)]
        if self.config:
            words += ["--config", self.config]
        return shlex.join(words)

    def workflow(self, endings: Sequence[str]) -> str:
        """Compose the command by which the workflow makes products with all they need."""
        paths = [self.stem + ending for ending in endings]
        return workflow_command(
            paths, self.registry.grouping.plural, self.group, self.settings.results, self.config
        )


def creation_text(meta: Mapping[str, Any]) -> str:
    """Describe when and by what a table was made; "" where its metadata does not say."""
    try:
        made = datetime.fromisoformat(str(meta.get("made", "")))
    except ValueError:
        return ""
    stage = f", {meta['stage']} {meta.get('stage_version', '')}" if meta.get("stage") else ""
    return f"{made:%Y-%m-%d %H:%M}{stage}"
