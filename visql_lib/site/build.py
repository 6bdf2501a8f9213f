"""Build pages from groups: only changed pages are made again, outdated ones are removed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from visql_lib.config import Settings
from visql_lib.config.load import digest
from visql_lib.instruments.model import load_instrument
from visql_lib.pipelines import registry_of
from visql_lib.products.page_parts import PageSection
from visql_lib.products.pages import GroupPlots, Plots, pages_of
from visql_lib.qc.limits import Thresholds, load_thresholds
from visql_lib.qc.summary import ExposureSummary, GroupSummary, MissingProducts
from visql_lib.sheets.sheet import SheetRow, read_sheet
from visql_lib.site import overview
from visql_lib.site.data import fields_of, group_data, missing_of_group, summary
from visql_lib.site.frame_pictures import FramePictures
from visql_lib.site.images import ImagePages, ImageTiles
from visql_lib.site.links import Links
from visql_lib.site.marks import read_marks
from visql_lib.site.neighbours import (
    Ends,
    Neighbours,
    PageLocation,
    Surroundings,
    as_json,
    ends_of,
    neighbours,
    surroundings,
)
from visql_lib.site.pages import (
    Folder,
    ShownFile,
    Stat,
    counted,
    exposure_page,
    files_in,
    files_named,
    files_of_group,
    missing_of_exposure,
    shown_file,
    stat_of,
)
from visql_lib.site.parents import ParentPages
from visql_lib.site.render import folder, render, script_data, style_digest
from visql_lib.site.shared_plots import SharedPlots, shared_plots
from visql_lib.site.state import BuildResult, Store
from visql_lib.site.viewing import (
    TILES,
    others,
    overlay_path,
    tiles_path,
)


def build(
    results: Path,
    groups: Sequence[GroupSummary],
    expected: Mapping[str, Sequence[str]],
    settings: Settings,
    *,
    thresholds: Thresholds | None = None,
    config: str = "",
    links: Links | None = None,
    now: datetime | None = None,
    of_all: Sequence[MissingProducts] = (),
) -> BuildResult:
    """Build the site, or update it.

    Parameters
    ----------
    results : Path
        Folder of all products.
    groups : sequence of GroupSummary
        Months to look at; the pages of others stay as they are.
    expected : mapping
        Endings of the products each exposure should have, by its name.
    settings : Settings
    thresholds : Thresholds, optional
        Limits shown beside the numbers; default those of the settings.
    config : str, optional
        File of settings that the commands on the pages name; "" for none.
    links : Links, optional
        Where the site is and how it points at products; default ``results/site``.
    now : datetime, optional
        For the days on the front page.
    of_all : sequence of MissingProducts, optional
        What is missing of the products of all groups.

    Returns
    -------
    BuildResult
        What was written and removed.
    """
    links = links or Links(results, results / "site", registry_of(settings).grouping.frame)
    limits = thresholds or load_thresholds(settings.thresholds, registry_of(settings).quantities)
    links.out.mkdir(parents=True, exist_ok=True)
    with FileLock(links.out / ".lock"):
        builder = _Builder(results, links, settings, limits, config, now or datetime.now(UTC))
        try:
            builder.build(groups, expected, of_all)
        finally:  # what was written is known, also if the rest failed
            builder.save()
    return builder.store.built


def _plain(values: ExposureSummary | GroupSummary | SheetRow) -> dict[str, Any]:
    """List the fields for a digest, without a deep copy."""
    return {f.name: getattr(values, f.name) for f in fields(values)}


@dataclass(frozen=True)
class _Own:
    """What the page of an exposure shows besides the exposure: its neighbours, its field, further parts."""

    around: Neighbours
    field: str
    sections: tuple[PageSection, ...]
    plots: SharedPlots

    def pictures(self, stat: Callable[[str], Stat]) -> dict[str, list[ShownFile]]:
        """List the pictures of the sections."""
        return {s.anchor: [shown_file(p, lambda p: stat(p).size) for p in s.pictures] for s in self.sections}


class _Builder:
    def __init__(
        self,
        results: Path,
        links: Links,
        settings: Settings,
        thresholds: Thresholds,
        config: str,
        now: datetime,
    ) -> None:
        self.results, self.links, self.settings = results, links, settings
        self.thresholds, self.config, self.now = thresholds, config, now
        self.out = links.out
        self.store = Store(self.out)
        self.groups = self.store.groups
        self.ends: dict[str, Ends] = {}
        self.instrument = load_instrument(settings.instrument)
        self.registry = registry_of(settings)
        self.grouping = self.registry.grouping
        self.pages = pages_of(self.registry)

    @cached_property
    def common(self) -> str:
        """A digest of everything that all pages depend on."""
        limits = self.thresholds.model_dump(mode="json")
        looks = (self.settings.site.title, self.settings.site.thumbnail, self.config, self.settings.results)
        return digest(limits, style_digest(), *map(str, looks), self.links.kind)

    @cached_property
    def _tiles(self) -> ImageTiles:
        return ImageTiles(self.store, self.results)

    @cached_property
    def _images(self) -> ImagePages:
        return ImagePages(self.store, self._tiles, self._page, self.common)

    @cached_property
    def _frames(self) -> FramePictures:
        return FramePictures(self.store, self.results, self.registry, self._tiles)

    def build(
        self,
        groups: Sequence[GroupSummary],
        expected: Mapping[str, Sequence[str]],
        of_all: Sequence[MissingProducts],
    ) -> None:
        """Write everything."""
        self._static()
        given = [m for m in groups if m.exposures or self.grouping.sheet_path(self.results, m.name).is_file()]
        for name in set(self.groups) - {m.name for m in given}:
            if not self.grouping.sheet_path(self.results, name).is_file():
                self._forget(name)
        self.ends = {name: values.get("ends", {}) for name, values in self.groups.items()}
        self.ends |= {m.name: ends_of(m.exposures) for m in given}
        for group in given if self.pages.frame_image else ():  # pages link to each other's tiles
            self._frames.cut(group.name, self._folders(group))
        for group in sorted(given, key=lambda m: m.name):
            self._group(group, expected)
        self._parents([group.name for group in groups])
        self._overviews(of_all)

    def save(self) -> None:
        """Save the state for the next build."""
        self.store.save(style_digest())
        built = script_data("window.visql.built", f"{self.now:%Y-%m-%dT%H:%M:%SZ}")
        self.store.write("data/built.js", built.encode())

    # -- pages ------------------------------------------------------------------------------------

    def _page(self, path: str, template: str, **context: Any) -> bytes:
        depth = path.count("/")
        up = "../" * depth
        text = render(
            template,
            site=self.settings.site,
            up=up,
            href=lambda product: self.links.href(product, depth),
            have_plots=(folder("static") / "plots.js").is_file(),
            have_viewer=(folder("static") / "viewer.js").is_file(),
            bundle=self.links.kind == "bundle",
            grouping=self.grouping,
            trend_pages=self.pages.trends,
            CATEGORIES=self.registry.terms.categories,
            QUANTITIES=self.registry.quantities.shown,
            **context,
        )
        return text.encode()

    def _static(self) -> None:
        for path in sorted(folder("static").glob("*")):
            if path.is_file():
                self.store.put(f"static/{path.name}", path.read_bytes())
        for name, content in self.pages.plot_files().items():
            self.store.renew(f"static/{name}", digest({name: len(content)}), partial(bytes, content))
        self.store.put(
            "data/marks.js", script_data("window.visql.shared", read_marks(self.settings.site.marks)).encode()
        )

    # -- one group --------------------------------------------------------------------------------

    def _group(self, group: GroupSummary, expected: Mapping[str, Sequence[str]]) -> None:
        folders = self._folders(group)
        exposures = [e for e in group.exposures if e.name in folders]
        small = self._frames.thumbs(group.name, folders, self.settings.site.thumbnail)
        fields = fields_of(group.exposures)
        outside = surroundings(group.name, self.ends, in_time=self.grouping.is_dated)
        around = neighbours(exposures, outside)
        places = {PageLocation(e.group, e.name) for e in exposures}.union(*around.values())
        tiled = {place for place in places if self._is_tiled(place)}
        more = self.pages.frame_sections(self.results, group, self.settings, self.config)
        plots = shared_plots(self.store, group.name, self.pages.frame_plots(group, self.settings))
        for e in exposures:
            parts = _Own(around[e.name], fields[e.name], tuple(more.get(e.name, ())), plots)
            self._exposure(e, folders[e.name], parts, tiled)
        lost = {e.name: missing_of_exposure(e, folders[e.name]) for e in exposures if e.missing}
        numbers = {e.name: len(tuple(expected.get(e.name, ()))) for e in exposures}
        own = missing_of_group(
            group.missing, self.grouping.plural, group.name, self.settings.results, self.config
        )
        self.groups[group.name] = summary(group, lost, numbers, own, terms=self.registry.terms) | {
            "ends": self.ends[group.name],
            "beside": as_json(outside),
        }
        data = script_data(
            "(visql.groups=visql.groups||{})" + f'["{group.name}"]',
            group_data(group, small, fields, self.registry, self.pages),
        )
        self.store.put(f"data/{group.name}.js", data.encode())
        self._images.write(group.name, self.pages.images(self.results, group), self._stat)
        self._group_page(group, outside)
        self._clean(group.name, {e.name for e in exposures})

    def _folders(self, group: GroupSummary) -> dict[str, Folder]:
        """Look at the exposures of a group that are in its sheet."""
        sheet = self.grouping.sheet_path(self.results, group.name)
        rows = {row.exposure: row for row in read_sheet(sheet)} if sheet.is_file() else {}
        exposures = [e for e in group.exposures if e.name in rows]
        files = self._files_of(group.name, [e.name for e in exposures])
        return {
            e.name: Folder(
                self.registry, rows[e.name], files[e.name], self.results, self.settings, self.config
            )
            for e in exposures
        }

    def _files_of(self, group: str, exposures: Sequence[str]) -> dict[str, dict[str, Stat]]:
        """List the files of exposures; frames of some pipelines share a folder."""
        folders: dict[Path, list[str]] = {}
        for name in exposures:
            folders.setdefault(Path(self.grouping.stem(self.results, group, name)).parent, []).append(name)
        listed = ((files_in(folder), names) for folder, names in folders.items())
        return {name: files_named(files, name, names) for files, names in listed for name in names}

    def _below(self, group: str) -> str:
        return f"{self.grouping.folder.format(**self.grouping.fields(group))}/"

    def _is_tiled(self, place: PageLocation) -> bool:
        return bool(place.name) and (self.out / tiles_path(*place) / TILES).is_file()

    def _exposure(self, e: ExposureSummary, folder: Folder, own: _Own, tiled: set[PageLocation]) -> None:
        path = f"exposures/{e.group}/{e.name}.html"
        up = "../" * path.count("/")
        has_tiles = PageLocation(e.group, e.name) in tiled
        viewer = {
            "tiles": f"{tiles_path(e.group, e.name)}/" if has_tiles else "",
            "overlays": self._overlays(e, folder) if has_tiles else "",
            "others": others((place for place in own.around if place in tiled), up),
            "pyramid": self.pages.tiles_command(
                folder.row, f"{self.settings.results}/site/{tiles_path(e.group, e.name)}", self.config
            ),
        }
        key = digest(
            {
                "e": _plain(e),
                "row": _plain(folder.row),
                "files": folder.files,
                "around": own.around,
                "viewer": viewer,
                "sections": own.sections,
            },
            self.common,
            own.field,
            own.plots.html,
        )

        def make() -> bytes:
            shown = exposure_page(e, folder, self.thresholds)
            pattern = self.links.pattern(path.count("/"))
            extra: dict[str, Any] = {"around": own.around, "field": own.field, "pattern": pattern, **viewer}
            extra |= {"sections": own.sections, "pictures_of": own.pictures(self._stat)}
            extra |= {"plots": own.plots.html, "plots_heading": own.plots.heading, "script": own.plots.script}
            return self._page(path, "exposure.html", **shown, **extra)

        self.store.renew(path, key, make)

    def _overlays(self, e: ExposureSummary, folder: Folder) -> str:
        """Write the overlays of the viewer; return their path, "" if there are none."""
        sources = self.pages.overlay_sources(folder.files, e.name)
        path = overlay_path(e.group, e.name)
        if not sources:
            return ""
        key = digest({name: folder.files[name] for name in sources}, str(e.pa))
        stem = self.grouping.stem(self.results, e.group, e.name)
        self.store.renew(path, key, lambda: self.pages.overlay_script(stem, e, self.instrument))
        return path if path in self.store.pages else ""

    def _group_page(self, group: GroupSummary, outside: Surroundings) -> None:
        path = self.registry.terms.page_of_group(group.name)
        kinds = ("pictures", "tables", "texts", "movies")
        sizes = {p: self._stat(p) for kind in kinds for p in getattr(group, kind)}
        plots = self.pages.group_plots(group, self.thresholds, self.settings)
        key = digest({"group": _plain(group), "sizes": sizes}, plots.digest, self.common, *outside.groups)
        self.store.renew(path, key, lambda: self._made_group_page(path, group, outside, plots, sizes))

    def _made_group_page(
        self,
        path: str,
        group: GroupSummary,
        outside: Surroundings,
        made_from: GroupPlots,
        sizes: Mapping[str, Stat],
    ) -> bytes:
        def size(product: str) -> int:
            return sizes[product].size

        script, plots = made_from.make()
        self.store.put(f"data/plots_{group.name}.js", script.encode())
        sections = self.pages.sections(self.results, group, self.settings, self.config)
        elsewhere = {product for section in sections for product in section.pictures}
        return self._page(
            path,
            "group.html",
            group=group,
            counts=counted(group.exposures, self.registry.terms.categories),
            lost=sum(len(x.paths) for x in group.missing),
            sections=sections,
            pictures_of={s.anchor: [shown_file(p, size) for p in s.pictures] for s in sections},
            products=files_of_group(group, self._below(group.name), size, elsewhere),
            plots=plots,
            plots_heading=made_from.heading,
            script=f"data/plots_{group.name}.js" if plots else "",
            before=outside.groups[0],
            after=outside.groups[1],
        )

    def _stat(self, path: str) -> Stat:
        return stat_of(self.results / path)

    def _clean(self, group: str, names: set[str]) -> None:
        """Remove the pages of exposures that no longer belong to a group."""
        for path in list(self.store.pages):
            kind, _, rest = path.partition("/")
            mine, _, file = rest.rpartition("/")
            if kind in ("exposures", "thumbs") and mine == group:
                name = file.removesuffix(".html").removesuffix(".jpg")
                if name not in names:
                    self.store.remove(path)
                    shutil.rmtree(self.out / tiles_path(group, name), ignore_errors=True)
                    if overlay_path(group, name) in self.store.pages:
                        self.store.remove(overlay_path(group, name))

    def _forget(self, group: str) -> None:
        """Remove the pages of a group that has no sheet any more."""
        self._clean(group, set())
        self._images.write(group, (), self._stat)
        scripts = (f"data/{group}.js", *(f"data/{kind}_{group}.js" for kind in ("plots", "frames")))
        for path in (self.registry.terms.page_of_group(group), *scripts, f"data/frames_{group}.part"):
            if path in self.store.pages:
                self.store.remove(path)
        self.groups.pop(group, None)

    def _parents(self, changed: Sequence[str]) -> None:
        """Write the pages of what groups belong to."""
        context = (self.grouping, self.results, self.settings, self.config)
        ParentPages(self.store, self.pages, self._page, *context).write(self.groups, changed, self.common)

    # -- pages of all groups ----------------------------------------------------------------------

    def _overviews(self, of_all: Sequence[MissingProducts]) -> None:
        wanted = ",".join(self.settings.groups)
        lost = missing_of_group(of_all, self.grouping.plural, wanted, self.settings.results, self.config)
        look = overview.Overview(
            self.results, self.out, self.settings, self.groups, self.now, self.registry, self.pages
        )
        pages: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
            "missing.html": ("missing.html", partial(look.missing, lost)),
            "about.html": ("about.html", look.about),
        }
        for path, (template, context) in pages.items():
            self.store.put(path, self._page(path, template, **context()))
        if self.pages.trends:
            self._trends(look)
        # Last, as it links only to pages that are there.
        self.store.put("index.html", self._page("index.html", "front.html", **look.front()))

    def _trends(self, look: overview.Overview) -> None:
        """Write the pages with plots of all groups."""
        key = digest(self.pages.trend_digest(self.results, self.settings), self.common)
        # In a bundle a point of another group leads nowhere.
        held = frozenset(self.store.pages) if self.links.kind == "bundle" else None
        if "trends" in self.pages.trends:
            self._plotted(
                "trends.html",
                key,
                look.trends(),
                lambda: self.pages.trend_plots(self.results, self.thresholds, self.settings, held),
            )
        if "calibration" in self.pages.trends:
            self._plotted(
                "calibration.html",
                key,
                look.calibration(),
                lambda: self.pages.calibration_plots(self.results, self.thresholds, held),
            )

    def _plotted(
        self, path: str, plots_key: str, context: dict[str, Any], plots: Callable[[], Plots]
    ) -> None:
        key = digest({"context": context}, plots_key)

        def make() -> bytes:
            script, html = plots()
            name = f"data/plots_{Path(path).stem}.js"
            self.store.put(name, script.encode())
            return self._page(path, path, **context, plots=html, script=name if html else "")

        self.store.renew(path, key, make)
