"""Plan a run: months, exposures and their products, as the workflow needs them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from visql_lib.atomic import atomic_path
from visql_lib.config import find_data_file
from visql_lib.config.load import digest
from visql_lib.instruments.model import Instrument, load_instrument
from visql_lib.photometry.ratios import gain_table
from visql_lib.pipelines import check_results, claim_results, registry_of, sheet_rules_of
from visql_lib.pipelines.vis.frame_stages import CATALOGUED
from visql_lib.pipelines.vis.gaia_plan import GaiaPlan
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.pipelines.vis.radiation_plan import RadiationPlan
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.expected import Expected
from visql_lib.products.registry import FieldValues, Registry, Stage
from visql_lib.products.status import exposure_states, failure_summary
from visql_lib.qc.limits import load_thresholds
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import USABLE, WITHOUT_RAW, SheetRow, read_sheet, sheet_path


@dataclass(frozen=True)
class Plan:
    """The exposures of the configured months, and the paths of their products."""

    settings: VisSettings
    instrument: Instrument
    sheets: dict[str, list[SheetRow]]

    @classmethod
    def make(cls, settings: VisSettings, *, refresh: bool) -> Plan:
        """Make the plan: index the raw folders (`refresh`), or read the sheets as they are, as a job does.

        Raises
        ------
        ConfigError
            If a raw folder does not exist, the instrument lacks the gain model, or limits are wrong.
        """
        instrument = load_instrument(settings.instrument)
        if settings.gaia.sources:
            gain_table(instrument, settings.ratios.gain)  # a wrong name is reported before anything runs
        months = settings.groups_at()
        if not refresh:
            paths = {month: sheet_path(Path(settings.results), month) for month in months}
            return cls(
                settings, instrument, {m: read_sheet(p) if p.is_file() else [] for m, p in paths.items()}
            )
        load_thresholds(settings.thresholds, QUANTITIES)  # so are wrong limits
        check_results(settings)
        sheets = refresh_sheets(settings, instrument, sheet_rules_of(settings), months)
        plan = cls(settings, instrument, sheets)
        claim_results(settings)
        plan.gaia.retry_failed()
        plan.radiation.retry_incomplete()
        return plan

    @cached_property
    def gaia(self) -> GaiaPlan:
        """The part of the plan for the match with reference stars."""
        return GaiaPlan(self)

    @cached_property
    def radiation(self) -> RadiationPlan:
        """The part of the plan for particles, the Sun and the other frame types."""
        return RadiationPlan(self)

    @cached_property
    def registry(self) -> Registry:
        """The registry of the pipeline's stages and products."""
        return registry_of(self.settings)

    @cached_property
    def words(self) -> FieldValues:
        """The values of the fields of paths."""
        return self.registry.words(self.instrument)

    @property
    def results(self) -> str:
        """Folder of all products."""
        return self.settings.results

    @property
    def parts(self) -> Sequence[str]:
        """The parts enabled by the settings."""
        return self.settings.parts

    @property
    def months(self) -> list[str]:
        """The months, YYYYMM."""
        return list(self.sheets)

    def groups(self) -> list[str]:
        """List the months, YYYYMM."""
        return self.months

    def rows(self, month: str) -> list[SheetRow]:
        """Select the rows of a month's sheet with a usable raw frame."""
        return [row for row in self.sheets.get(month, []) if row.status in USABLE]

    @cached_property
    def _rows(self) -> dict[tuple[str, str], SheetRow]:
        return {(month, row.exposure): row for month, rows in self.sheets.items() for row in rows}

    def row(self, month: str, exposure: str) -> SheetRow | None:
        """Find the row of an exposure in the sheet, None if it has none."""
        return self._rows.get((month, exposure))

    def exposures(self, month: str, *types: str) -> list[str]:
        """Select the exposures of a month with a usable raw frame, of some types (none named: of all)."""
        rows = self.sheets.get(month, [])
        return [r.exposure for r in rows if r.status in USABLE and (not types or r.frame_type in types)]

    def of_type(self, *types: str) -> list[str]:
        """Select the exposures of all months that have a raw frame of one of these types."""
        return [r.exposure for rows in self.sheets.values() for r in rows if r.file and r.frame_type in types]

    def not_of_type(self, *types: str) -> list[str]:
        """Select the exposures of all months that have a raw frame of any other type."""
        return [
            r.exposure for rows in self.sheets.values() for r in rows if r.file and r.frame_type not in types
        ]

    def without_raw(self) -> list[str]:
        """Select the exposures of all months that have tables but no raw frame."""
        return [r.exposure for rows in self.sheets.values() for r in rows if r.status in WITHOUT_RAW]

    def stem(self, month: str, exposure: str) -> str:
        """Compose the path of an exposure's products, without their endings."""
        return f"{self.settings.results}/exposures/{month}/{exposure}/{exposure}"

    def folder(self, month: str, exposure: str) -> str:
        """Compose the folder of an exposure's products."""
        return os.path.dirname(self.stem(month, exposure))  # noqa: PTH120 - two thousand times

    def common(self) -> str:
        """Hash what all jobs share: settings, the instrument, installed programs."""
        settings = self.settings.model_dump(mode="json", exclude={"months"})
        return digest(settings, self.instrument, str(self.radiation.installed))

    def outside_files(self, month: str, row: SheetRow) -> list[str]:
        """List the shared inputs of an exposure's products: days of GOES, tiles of Gaia."""
        tiles = self.gaia.tiles(month, row.exposure) if self.gaia.is_matched(row) else []
        return [*self.radiation.goes_days(month, row.exposure), *tiles]

    def outside_products(self, month: str, exposure: str) -> list[str]:
        """List an exposure's products in other folders: the site's tiles."""
        return [self.tiles_of(month, exposure)]

    def moments(self, month: str) -> list[str]:
        """List the moments tables of a month: measured now, measured before, imported."""
        found = [f"{self.stem(month, e)}_stars2_mom.parquet" for e in self.exposures(month, "SCIENCE")]
        return found + self.existing_without_raw(month, "_stars2_mom.parquet")

    def existing_without_raw(self, month: str, ending: str) -> list[str]:
        """List the existing tables of one kind of exposures without raw frame."""
        rows = [r for r in self.sheets.get(month, []) if r.status in WITHOUT_RAW]
        paths = [self.stem(month, r.exposure) + ending for r in rows]
        return [path for path in paths if Path(path).is_file()]

    def quadrant_tables(self, month: str) -> list[str]:
        """List the tables of quadrants of a month; every readable frame has one."""
        return [f"{self.stem(month, e)}_quadrants.parquet" for e in self.exposures(month)]

    def pictures(self, month: str) -> list[str]:
        """List one picture per exposure of a month, which represents all its pictures of stars."""
        found = self.products("pictures", month, self.exposures(month, "SCIENCE"))
        found += self.products("pictures_flat", month, self.exposures(month, "FLAT"))
        return found + self.pictures_without_raw(month)

    def pictures_without_raw(self, month: str) -> list[str]:
        """List the missing pictures of exposures that have tables but no raw frame."""
        tables = self.existing_without_raw(month, "_stars2_mom.parquet")
        endings = self.registry["pictures_without_raw"].endings
        paths = [table.removesuffix("_stars2_mom.parquet") + end for table in tables for end in endings]
        return [path for path in paths if not Path(path).is_file()]

    def products(self, stage: str, month: str, exposures: Sequence[str]) -> list[str]:
        """List the first product of a stage for each exposure; it represents all products of the stage."""
        ending = self.registry[stage].endings[0]
        return [self.stem(month, exposure) + ending for exposure in exposures]

    def paths(self, stage: str, month: str = "") -> list[str]:
        """List the files that a stage makes for a month, or for all months."""
        known = {"month": month} if month else {}
        paths = self.registry.paths(self.registry[stage], self.words, **known)
        return [f"{self.results}/{path}" for path in paths]

    @cached_property
    def _listings(self) -> dict[str, frozenset[str]]:
        return {}

    def files(self, month: str, exposure: str) -> frozenset[str]:
        """List the names of an exposure's files; its folder is read once."""
        folder = self.folder(month, exposure)
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))  # noqa: PTH208
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]

    def imported(self, month: str) -> list[str]:
        """List the imported table of a month, if there is one."""
        path = Path(self.settings.results) / "imported" / f"{month}.parquet"
        return [str(path)] if path.is_file() else []

    @cached_property
    def newest_months(self) -> list[str]:
        """The newest two months that were ever processed or are configured."""
        folder = Path(self.settings.results) / "months"
        made = {p.parent.name for p in folder.glob("*/psfmoments_*.parquet")}
        return sorted(made | set(self.months))[-2:]

    def newest_tables(self, *, configured: bool) -> list[str]:
        """List the image-quality tables of the newest months: of configured months, or of the others."""
        return [self.quality(m)[0] for m in self.newest_months if (m in self.months) == configured]

    def archive_names(self) -> list[str]:
        """List the configured table of archive names, if there is one."""
        if self.settings.legacy.archive_names:
            return [self.settings.legacy.archive_names]
        fetched = Path(self.settings.results) / "le1-vs-iws.txt"
        return [str(fetched)] if fetched.is_file() else []

    def quality(self, month: str) -> list[str]:
        """List the products of a month's image quality."""
        names = (f"psfmoments_{month}.parquet", f"psfmoments_{month}.png", f"IQ_timeline_{month}.png")
        return [f"{self.settings.results}/months/{month}/{name}" for name in names]

    def inputs(self, stage: str, month: str) -> list[str]:
        """List the requested products of months that a month's stage reads."""
        return self._expected.inputs(stage, month)

    @cached_property
    def _expected(self) -> Expected:
        return Expected(self)

    def tiles(self, month: str) -> list[str]:
        """List the tile indices of a month's frames; each represents all tiles of its frame."""
        return [self.tiles_of(month, e) for e in self.exposures(month)]

    def tiles_of(self, month: str, exposure: str) -> str:
        """Compose the path of an exposure's tile index in the site; it represents all its tiles."""
        return f"{self.settings.results}/site/tiles/{month}/{exposure}/tiles.js"

    def summary_tables(self, month: str) -> list[str]:
        """List the month tables made from all levels and moments of a month, which represent them.

        A month's products hang on each other rather than on two thousand files each:
        every file they name costs planning.
        """
        levels = self.quadrant_tables(month)
        if levels and "radiation" in self.parts:
            levels = [f"{self.settings.results}/months/{month}/detector_{month}.parquet"]
        return [*levels, self.quality(month)[0]]

    def tables_of_exposures(self, month: str) -> list[str]:
        """List tables of a month that exist only after all tables of its exposures do."""
        tables = [self.quality(month)[0], f"{self.settings.results}/months/{month}/status.tsv"]
        if "gaia" in self.parts:
            tables += self.gaia.geometry(month)
        if "radiation" in self.parts:
            tables += self.radiation.month(month)
        return tables

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(self.settings.names())

    def legacy(self, month: str) -> list[str]:
        """List all text tables in the original's formats for a month and its exposures."""
        found = self.paths("legacy_month", month)
        found.append(f"{self.settings.results}/months/{month}/fitslist{month}.txt")
        found += [f"{self.stem(month, e)}.cat.gz" for e in self.exposures(month, *CATALOGUED)]
        found += [f"{self.stem(month, e)}_stars2.cat" for e in self.exposures(month, "SCIENCE", "FLAT")]
        found += [path.replace(".parquet", ".cat") for path in self.moments(month)]
        for ending, text in (("_stars2_gaia", ".cat"), ("_stars2_mom_col", ".cat"), ("_frat", ".txt")):
            tables = self.gaia.matched_tables(month, f"{ending}.parquet")
            found += [path.replace(".parquet", text) for path in tables]
        if self.gaia.month(month):
            found.append(f"{self.settings.results}/months/{month}/vis-over-gaia")
        return found + [
            path.replace(".parquet", ".cat") for path in self.existing_without_raw(month, "_stars2.parquet")
        ]

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

    def run_messages(self) -> str:
        """Compose the messages after a successful run: empty months, new data for the next run."""
        notes = [
            Path(path)
            for path in (*self.gaia.pending_queries, *self.radiation.pending_queries)
            if path.endswith(".txt") and Path(path).is_file()
        ]
        changed = [n.stem for n in notes if n.read_text(encoding="utf-8").startswith("changed")]
        messages = []
        if empty := [month for month, rows in self.sheets.items() if not rows]:
            messages.append(
                f"No products of {', '.join(empty)}: no exposures in {', '.join(self.settings.raw)}"
            )
        if changed:
            messages.append(f"Updated by a repeated query: {', '.join(changed)}. Run again to use it.")
        return "\n".join(messages)

    def failure_summary(self) -> str:
        """Summarise failures in the configured months, one exposure per line; "" if there are none."""
        paths = [sheet_path(Path(self.settings.results), month) for month in self.months]
        sheets = [path for path in paths if path.is_file()]
        return failure_summary([state for path in sheets for state in exposure_states(self.registry, path)])

    def facts(self, *names: str) -> str:
        """Hash some of the instrument's facts."""
        return digest(self.instrument.model_dump(mode="json", include=set(names)))

    @property
    def threshold_file(self) -> str:
        """The file of dated limits."""
        return str(find_data_file("thresholds", self.settings.thresholds))
