"""Pages of what several groups belong to, such as a target with sets of several cameras."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from visql_lib.config import Settings
from visql_lib.config.load import digest
from visql_lib.products.pages import Pages, ParentPage
from visql_lib.sheets.grouping import Grouping
from visql_lib.site.pages import shown_file, stat_of
from visql_lib.site.state import Store


class ParentPages:
    """Writes the pages of what groups belong to; see `Grouping.parent`.

    Parameters
    ----------
    store : Store
        The files of the site.
    pages : Pages
        What the pipeline shows.
    page : callable
        Renders a template: called with a path, the template and its content.
    grouping : Grouping
        How groups are called.
    results : Path
        Folder of all products.
    settings : Settings
    config : str
        File of settings that commands name, "" for none.
    """

    def __init__(
        self,
        store: Store,
        pages: Pages,
        page: Callable[..., bytes],
        grouping: Grouping,
        results: Path,
        settings: Settings,
        config: str,
    ) -> None:
        self._store, self._pages, self._page, self._grouping = store, pages, page, grouping
        self._results, self._settings, self._config = results, settings, config

    def write(self, groups: Mapping[str, Mapping[str, Any]], changed: Collection[str], common: str) -> None:
        """Write the pages of parents of some groups, and remove those that have none any more.

        Parameters
        ----------
        groups : mapping
            The summaries of all groups of the site, by key.
        changed : collection of str
            Groups that were looked at.
        common : str
            A digest of what all pages depend on.
        """
        children: dict[str, list[str]] = {}
        for group in sorted(groups):
            if parent := self._grouping.parent(group):
                children.setdefault(parent, []).append(group)
        for parent, mine in children.items():
            if set(mine) & set(changed) or self._path(parent) not in self._store.pages:
                self._write(parent, mine, groups, common)
        pattern = re.compile(rf"{re.escape(self._grouping.plural)}/(.+)\.html")
        pages = [match[1] for path in self._store.pages if (match := pattern.fullmatch(path))]
        for gone in set(pages) - set(children) - set(groups):
            for path in (self._path(gone), self._script(gone)):
                if path in self._store.pages:
                    self._store.remove(path)

    def _path(self, parent: str) -> str:
        return f"{self._grouping.plural}/{parent}.html"

    def _script(self, parent: str) -> str:
        return f"data/plots_{parent}.js"

    def _write(
        self, parent: str, mine: Sequence[str], groups: Mapping[str, Mapping[str, Any]], common: str
    ) -> None:
        made = self._pages.parent_page(self._results, parent, mine, self._settings, self._config)
        shown = [(name, {k: groups[name][k] for k in ("n", "counts", "lost", "expected")}) for name in mine]
        sizes = {path: stat_of(self._results / path) for path in (*made.pictures, *made.files)}
        key = digest({"groups": shown, "sizes": sizes, "sections": made.sections}, made.digest, common)
        self._store.renew(self._path(parent), key, lambda: self._made(parent, shown, made))

    def _made(self, parent: str, shown: Sequence[tuple[str, Any]], made: ParentPage) -> bytes:
        def size(path: str) -> int:
            return stat_of(self._results / path).size

        script, plots = made.plots.make()
        self._store.put(self._script(parent), script.encode())
        return self._page(
            self._path(parent),
            "parent.html",
            parent=parent,
            groups=shown,
            sections=made.sections,
            pictures_of={s.anchor: [shown_file(p, size) for p in s.pictures] for s in made.sections},
            pictures=[shown_file(p, size) for p in made.pictures],
            files=[shown_file(p, size) for p in made.files],
            plots=plots,
            plots_heading=made.plots.heading,
            script=self._script(parent) if plots else "",
        )
