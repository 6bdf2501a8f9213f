"""Verify that the products of a group agree with the current settings, stages and raw frames."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from visql_lib.errors import ConfigError, FrameError, TableError
from visql_lib.frames import open_exposure
from visql_lib.products.expected import Expected
from visql_lib.products.plan import Plan
from visql_lib.products.registry import Per, Registry
from visql_lib.qc.limits import load_thresholds
from visql_lib.sheets.sheet import SheetRow
from visql_lib.tables.provenance import (
    NoRecordError,
    actual_checksum,
    check_whole,
    checksum_of,
    fact_digest,
    read_record,
    sidecar,
)

MISSING, DAMAGED, STALE, FOREIGN = "missing", "damaged", "stale", "foreign"
_REASONS = 4  # shown for one product
_OTHERS = (".snakemake_timestamp", ".lock")  # files by which others keep order


class Finding(NamedTuple):
    """A problem of a product: its path below the results, the kind, and the reason."""

    kind: str
    product: str
    reason: str


@dataclass
class Verification:
    """Verifies the products of one group.

    Parameters
    ----------
    plan : Plan
        Of this group alone, with its sheet as it is.
    group : str
        Its key.
    deep : bool
        Read every product and raw frame whole and compare checksums; else only ends, records, sizes, times.
    """

    plan: Plan
    group: str
    deep: bool = False
    seen: int = 0
    _checksums: dict[Path, str] = field(default_factory=dict)
    _frames: dict[str, str] = field(default_factory=dict)  # raw file -> checksum of its pixels

    def findings(self) -> Iterator[Finding]:
        """Yield all problems; `seen` counts the verified products."""
        yield from self._exposures()
        yield from self._of_group()
        for job in self._asked_for.of_all():
            for path in map(Path, job.paths):
                yield from self._expected(path, None)

    @cached_property
    def _asked_for(self) -> Expected:
        return Expected(self.plan)

    @property
    def _registry(self) -> Registry:
        return self.plan.registry

    @property
    def results(self) -> Path:
        """The folder of all products."""
        return Path(self.plan.settings.results)

    def _exposures(self) -> Iterator[Finding]:
        rows = {row.exposure: row for row in self.plan.sheets[self.group]}
        usable = {row.exposure for row in self.plan.rows(self.group)}
        there = self._files_of_frames(rows)
        for exposure, row in rows.items():
            endings = self._asked_for.endings(row) if exposure in usable else ()
            folder = Path(self.plan.folder(self.group, exposure))
            wanted = {exposure + ending for ending in endings}
            for name in sorted(wanted | there.get(exposure, set())):
                path = folder / name
                ending = name.removeprefix(exposure)
                if name in wanted or (ending != name and ending in self._registry.endings):
                    yield from self._expected(path, row)
                elif not _belongs(path) and path not in self._group_files:
                    yield self._finding(FOREIGN, path, "no rule makes it")
        for path in sorted(set(self._of_no_frame(rows, there)) - self._group_files):
            yield self._finding(FOREIGN, path, "not in the exposure sheet")

    def _files_of_frames(self, rows: Mapping[str, SheetRow]) -> dict[str, set[str]]:
        """List the names of the files in the folder of each frame; of one that frames share, its own."""
        folders = {exposure: Path(self.plan.folder(self.group, exposure)) for exposure in rows}
        if Path(self.plan.folder(self.group, "{exposure}")).name == "{exposure}":
            return {exposure: _names(folder) for exposure, folder in folders.items()}
        found: dict[str, set[str]] = {}
        for folder in set(folders.values()):
            for name in _names(folder):
                own = [e for e in rows if name.removeprefix(".").startswith(e)]
                found.setdefault(max(own, key=len, default=""), set()).add(name)
        return found

    def _of_no_frame(self, rows: Mapping[str, SheetRow], there: Mapping[str, set[str]]) -> Iterator[Path]:
        """Yield what lies among the frames' folders or files and belongs to no frame of the sheet."""
        sample = Path(self.plan.folder(self.group, "{exposure}"))
        if sample.name != "{exposure}":
            yield from (sample / name for name in there.get("", ()) if not _belongs(sample / name))
            return
        folder = sample.parent
        yield from (folder / name for name in _names(folder) - rows.keys() if name not in _OTHERS)

    def _of_group(self) -> Iterator[Finding]:
        grouping = self._registry.grouping
        own = grouping.group_folder(self.results, self.group)
        jobs = self._asked_for.of_group(self.group, closing=True)
        wanted = {Path(path) for job in jobs for path in (*job.paths, *job.folders)}
        known, folders = self._group_products()
        frames = Path(self.plan.folder(self.group, "E"))
        below = {p.parent for p in self._patterns if p.parent.is_relative_to(own)} - {frames}
        others = {grouping.sheet_path(self.results, self.group), *frames.parents, frames, *below}
        there = {folder / name for folder in {own, *below} for name in _names(folder)} - others
        for path in sorted(wanted | there):
            if path in folders and path.is_dir():
                for inner in sorted(_names(path)):
                    if not _belongs(path / inner):
                        yield from self._expected(path / inner, None)
            elif path in wanted or path in known:
                yield from self._expected(path, None)
            elif not _belongs(path) and _product_of(path) not in wanted:
                yield self._finding(FOREIGN, path, "no rule makes it")

    @cached_property
    def _patterns(self) -> list[Path]:
        """The paths of the files of groups, with the names that the group's own frames decide."""
        known = self._registry.grouping.fields(self.group)
        products = (p for s in self._registry.of(Per.GROUP) for p in s.outputs if not p.folder)
        paths = [p.path for p in products]
        for name, value in known.items():
            paths = [path.replace("{" + name + "}", value) for path in paths]
        return [self.results / path for path in paths]

    @cached_property
    def _group_files(self) -> frozenset[Path]:
        return frozenset(self._group_products()[0])

    def _group_products(self) -> tuple[set[Path], set[Path]]:
        """List the files, and the folders, that a group may have with any settings."""
        known, words = self._registry.grouping.fields(self.group), self.plan.words_of(self.group)
        stages = self._registry.of(Per.GROUP)
        files = {p for s in stages for p in self._registry.paths(s, words, **known)}
        folders = {p for s in stages for p in self._registry.folders(s, **known)}
        return {self.results / p for p in files}, {self.results / p for p in folders}

    def _expected(self, path: Path, row: SheetRow | None) -> Iterator[Finding]:
        """Verify a product that must exist, or may; `row`: of its exposure."""
        if not path.exists():
            yield self._finding(MISSING, path, "expected by the settings")
            return
        self.seen += 1
        if wrong := check_whole(path):
            yield self._finding(DAMAGED, path, wrong)
            return
        try:
            record = read_record(path)
            if self.deep and actual_checksum(path) != record["checksum"]:
                yield self._finding(DAMAGED, path, "its content does not match its checksum")
                return
        except NoRecordError:
            yield self._finding(STALE, path, "has no provenance record")
            return
        except (TableError, KeyError) as error:
            yield self._finding(DAMAGED, path, str(error).removeprefix(f"{path}: "))
            return
        self._checksums[path] = record["checksum"]
        if self.plan.is_kept(path):
            record = record | {"stages": {}, "facts": {}, "inputs": {}}
        found = (*self._versions(record), *self._settings(record, row), *self._inputs(path, record, row))
        if reasons := list(dict.fromkeys(found)):
            more = [f"and {len(reasons) - _REASONS} more"] if len(reasons) > _REASONS else []
            yield self._finding(STALE, path, "; ".join([*reasons[:_REASONS], *more]))

    def _versions(self, record: Mapping[str, Any]) -> Iterator[str]:
        versions = self._registry.versions
        for stage, version in record["stages"].items():
            if versions.get(stage, version) != version:
                yield f"stage {stage} is {versions[stage]}, was {version}"

    def _settings(self, record: Mapping[str, Any], row: SheetRow | None) -> Iterator[str]:
        for section, values in record["settings"].items():
            if section == "calibration" and row is not None and row.frame_type == "SCIENCE":
                continue
            now = self._values.get(section, {})
            for stage in record["stages"]:
                counted = self._registry.counted(stage).get(section, tuple(values))
                for name in counted:
                    if name in now and now[name] != values.get(name):
                        yield f"{section}.{name} is {now[name]}, was {values.get(name)}"
        for fact, known in record["facts"].items():
            if self._facts.get(fact, known) != known:
                yield f"{fact} of the instrument changed" if fact != "thresholds" else "the limits changed"

    @cached_property
    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(json.dumps(self.plan.settings.model_dump(mode="json")))
        return values

    @cached_property
    def _facts(self) -> dict[str, str]:
        instrument = self.plan.instrument_of(self.group)
        found = {name: fact_digest(value) for name, value in instrument if value is not None}
        with suppress(ConfigError):
            found["thresholds"] = fact_digest(
                load_thresholds(self.plan.settings.thresholds, self._registry.quantities)
            )
        return found

    def _inputs(self, path: Path, record: Mapping[str, Any], row: SheetRow | None) -> Iterator[str]:
        for name, known in record["inputs"].items():
            if isinstance(known, Mapping):
                yield from self._raw(name, known, row)
                continue
            source = path.parent / name
            if "/" not in name and not source.exists():  # far off: only its name is known
                continue
            if not self._counts(source, row):
                continue
            if not source.exists():
                yield f"made from {name}, which no longer exists"
            elif self._checksum(source) != known:
                yield f"made from another {name}"

    def _counts(self, source: Path, row: SheetRow | None) -> bool:
        """Test whether a changed input makes a product outdated; sheets and other groups do not."""
        if source.suffix == ".tsv" and row is not None:
            return False
        own = self._registry.grouping.group_folder(self.results, self.group)
        return source.parent.parent != own.parent or source.parent == own

    def _raw(self, name: str, known: Mapping[str, Any], row: SheetRow | None) -> Iterator[str]:
        if row is None or not row.file or Path(row.file).name != Path(name).name:
            return
        try:
            stat = Path(row.file).stat()
        except OSError:  # moved away since: its products stay
            return
        other = (stat.st_size, stat.st_mtime_ns) != (known["size"], known["mtime"])
        if other or (self.deep and self._pixels(row.file) != known.get("pixels", self._pixels(row.file))):
            yield f"made from another {Path(name).name}"

    def _pixels(self, raw: str) -> str:
        """Compute the checksum of a frame's pixels, "" if it cannot be read; read once."""
        if raw not in self._frames:
            try:
                with open_exposure(Path(raw), self.plan.instrument_of(self.group)) as exposure:
                    for _ in exposure:
                        pass
                    self._frames = {raw: exposure.pixels}  # products of one frame follow each other
            except FrameError:
                self._frames = {raw: ""}
        return self._frames[raw]

    def _checksum(self, path: Path) -> str:
        path = Path(*_normal(path))
        if path not in self._checksums:
            try:
                self._checksums[path] = checksum_of(path)
            except TableError as error:
                self._checksums[path] = str(error)
        return self._checksums[path]

    def _finding(self, kind: str, path: Path, reason: str) -> Finding:
        return Finding(kind, str(path.relative_to(self.results)), reason)


def _normal(path: Path) -> list[str]:
    """Resolve the ``..`` in the parts of a path."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return parts


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _belongs(path: Path) -> bool:
    """Test whether a hidden file belongs to a product beside it, or is a lock or unfinished file."""
    product = _product_of(path)
    return path.name in _OTHERS or (product.exists() and sidecar(product) == path)


def _product_of(path: Path) -> Path:
    """Derive the product whose sidecar a hidden file would be."""
    return path.with_name(path.name.removeprefix(".").removesuffix(".json"))
