"""What there is to make: months, exposures and their products, as the workflow needs to know them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from visql_lib.atomic import atomic_path
from visql_lib.config import Settings, find_data_file
from visql_lib.config.load import digest
from visql_lib.instruments.model import Instrument, load_instrument
from visql_lib.photometry.ratios import gain_table
from visql_lib.pipelines import check_results, claim_results, registry_of
from visql_lib.pipelines.vis.frame_stages import CATALOGUED
from visql_lib.plan.gaia import GaiaPlan
from visql_lib.plan.radiation import RadiationPlan
from visql_lib.products.expected import Expected
from visql_lib.products.registry import Registry, Stage, Words
from visql_lib.products.status import exposure_states, failure_summary
from visql_lib.tables.sheet import USABLE, WITHOUT_RAW, SheetRow, read_sheet, sheet_path
from visql_lib.tables.sheet_look import refresh_sheets

AUTO_DAYS = 3  # last month is still worked on during the first days of this one


def month_list(months: Sequence[str], today: datetime | None = None) -> list[str]:
    """Return months YYYYMM, sorted; ``auto`` is this month, and last month during its first three days."""
    today = today or datetime.now(UTC)
    found = set()
    for month in months:
        if month == "auto":
            found |= {f"{day:%Y%m}" for day in (today, today - timedelta(days=AUTO_DAYS))}
        else:
            found.add(month)
    return sorted(found)


@dataclass(frozen=True)
class Plan:
    """The exposures of the configured months and where their products go."""

    settings: Settings
    instrument: Instrument
    sheets: dict[str, list[SheetRow]]

    @classmethod
    def make(cls, settings: Settings, *, refresh: bool) -> Plan:
        """Look at the raw folders (`refresh`), or take the sheets as they are, as a job does.

        Raises
        ------
        ConfigError
            If a raw folder does not exist, or the instrument has not the gain model.
        """
        instrument = load_instrument(settings.instrument)
        if settings.gaia.sources:
            gain_table(instrument, settings.ratios.gain)  # a wrong name is told before anything runs
        months = month_list(settings.months)
        if not refresh:
            paths = {month: sheet_path(Path(settings.results), month) for month in months}
            return cls(
                settings, instrument, {m: read_sheet(p) if p.is_file() else [] for m, p in paths.items()}
            )
        check_results(settings)
        plan = cls(settings, instrument, refresh_sheets(settings, instrument, months))
        claim_results(settings)
        plan.gaia.retry_failed()
        plan.radiation.retry_incomplete()
        return plan

    @cached_property
    def gaia(self) -> GaiaPlan:
        """What there is to make of the match with reference stars."""
        return GaiaPlan(self)

    @cached_property
    def radiation(self) -> RadiationPlan:
        """What there is to make of particles, the Sun and the other frame types."""
        return RadiationPlan(self)

    @cached_property
    def registry(self) -> Registry:
        """What the pipeline makes."""
        return registry_of(self.settings)

    @cached_property
    def words(self) -> Words:
        """The words of the fields of paths."""
        return self.registry.words(self.instrument)

    @property
    def results(self) -> str:
        """Folder of all products."""
        return self.settings.results

    @property
    def parts(self) -> Sequence[str]:
        """The parts that the settings ask for."""
        return self.settings.parts

    @property
    def months(self) -> list[str]:
        """The months, YYYYMM."""
        return list(self.sheets)

    def groups(self) -> list[str]:
        """Return the months, YYYYMM."""
        return self.months

    def rows(self, month: str) -> list[SheetRow]:
        """Return the rows of a month's sheet whose raw frame can be worked on."""
        return [row for row in self.sheets.get(month, []) if row.status in USABLE]

    @cached_property
    def _rows(self) -> dict[tuple[str, str], SheetRow]:
        return {(month, row.exposure): row for month, rows in self.sheets.items() for row in rows}

    def row(self, month: str, exposure: str) -> SheetRow | None:
        """Return the sheet's row of an exposure, None if it has none."""
        return self._rows.get((month, exposure))

    def exposures(self, month: str, *types: str) -> list[str]:
        """Return the exposures of a month worth processing, of some types (none named: of all)."""
        rows = self.sheets.get(month, [])
        return [r.exposure for r in rows if r.status in USABLE and (not types or r.frame_type in types)]

    def of_type(self, *types: str) -> list[str]:
        """Return the exposures of all months that have a raw frame of some types."""
        return [r.exposure for rows in self.sheets.values() for r in rows if r.file and r.frame_type in types]

    def not_of_type(self, *types: str) -> list[str]:
        """Return the exposures of all months that have a raw frame of none of some types."""
        return [
            r.exposure for rows in self.sheets.values() for r in rows if r.file and r.frame_type not in types
        ]

    def without_raw(self) -> list[str]:
        """Return the exposures of all months of which there are tables but no raw frame."""
        return [r.exposure for rows in self.sheets.values() for r in rows if r.status in WITHOUT_RAW]

    def stem(self, month: str, exposure: str) -> str:
        """Return the path of an exposure's products, without their endings."""
        return f"{self.settings.results}/exposures/{month}/{exposure}/{exposure}"

    def folder(self, month: str, exposure: str) -> str:
        """Return the folder of an exposure's products."""
        return os.path.dirname(self.stem(month, exposure))  # noqa: PTH120 - two thousand times

    def common(self) -> str:
        """Return a hash of what all jobs have in common: settings, the instrument, what is installed."""
        settings = self.settings.model_dump(mode="json", exclude={"months"})
        return digest(settings, self.instrument, str(self.radiation.installed))

    def outside_files(self, month: str, row: SheetRow) -> list[str]:
        """Return the files beside its own that an exposure's products are made from: of GOES, of Gaia."""
        tiles = self.gaia.tiles(month, row.exposure) if self.gaia.is_matched(row) else []
        return [*self.radiation.goes_days(month, row.exposure), *tiles]

    def outside_products(self, month: str, exposure: str) -> list[str]:
        """Return an exposure's products that lie in other folders: the site's tiles."""
        return [self.tiles_of(month, exposure)]

    def moments(self, month: str) -> list[str]:
        """Return the moments tables of a month, measured now, before, and imported."""
        found = [f"{self.stem(month, e)}_stars2_mom.parquet" for e in self.exposures(month, "SCIENCE")]
        return found + self.existing_without_raw(month, "_stars2_mom.parquet")

    def existing_without_raw(self, month: str, ending: str) -> list[str]:
        """Return the tables of one kind that exposures without raw frame have."""
        rows = [r for r in self.sheets.get(month, []) if r.status in WITHOUT_RAW]
        paths = [self.stem(month, r.exposure) + ending for r in rows]
        return [path for path in paths if Path(path).is_file()]

    def quadrant_tables(self, month: str) -> list[str]:
        """Return the tables of quadrants of a month: what every readable frame has."""
        return [f"{self.stem(month, e)}_quadrants.parquet" for e in self.exposures(month)]

    def pictures(self, month: str) -> list[str]:
        """Return one picture of each exposure of a month that stands for all its pictures of stars."""
        found = self.products("pictures", month, self.exposures(month, "SCIENCE"))
        found += self.products("pictures_flat", month, self.exposures(month, "FLAT"))
        return found + self.pictures_without_raw(month)

    def pictures_without_raw(self, month: str) -> list[str]:
        """Return the pictures that are missing of exposures of which there are tables but no raw frame."""
        tables = self.existing_without_raw(month, "_stars2_mom.parquet")
        endings = self.registry["pictures_without_raw"].endings
        paths = [table.removesuffix("_stars2_mom.parquet") + end for table in tables for end in endings]
        return [path for path in paths if not Path(path).is_file()]

    def products(self, stage: str, month: str, exposures: Sequence[str]) -> list[str]:
        """Return the first product of a stage of some exposures, which stands for all that it makes."""
        ending = self.registry[stage].endings[0]
        return [self.stem(month, exposure) + ending for exposure in exposures]

    def paths(self, stage: str, month: str = "") -> list[str]:
        """Return the files that a stage makes of a month, or of all months."""
        known = {"month": month} if month else {}
        paths = self.registry.paths(self.registry[stage], self.words, **known)
        return [f"{self.results}/{path}" for path in paths]

    @cached_property
    def _listings(self) -> dict[str, frozenset[str]]:
        return {}

    def files(self, month: str, exposure: str) -> frozenset[str]:
        """Return the names of the files an exposure has; its folder is looked at once."""
        folder = self.folder(month, exposure)
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))  # noqa: PTH208
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]

    def imported(self, month: str) -> list[str]:
        """Return the table of what was imported for a month, if there is one."""
        path = Path(self.settings.results) / "imported" / f"{month}.parquet"
        return [str(path)] if path.is_file() else []

    @cached_property
    def newest_months(self) -> list[str]:
        """The newest two months that were ever worked on or are configured."""
        folder = Path(self.settings.results) / "months"
        made = {p.parent.name for p in folder.glob("*/psfmoments_*.parquet")}
        return sorted(made | set(self.months))[-2:]

    def newest_tables(self, *, configured: bool) -> list[str]:
        """Return the image-quality tables of the newest months: those of configured months, or the others."""
        return [self.quality(m)[0] for m in self.newest_months if (m in self.months) == configured]

    def last_month(self) -> list[str]:
        """Return the timeline of the last month, where a configured month has a part in it."""
        path = f"{self.settings.results}/timeline/IQ_timeline_lastmonth.png"
        return [path] if self.newest_tables(configured=True) else []

    def archive_names(self) -> list[str]:
        """Return the configured table of archive names, if there is one."""
        if self.settings.legacy.archive_names:
            return [self.settings.legacy.archive_names]
        fetched = Path(self.settings.results) / "le1-vs-iws.txt"
        return [str(fetched)] if fetched.is_file() else []

    def quality(self, month: str) -> list[str]:
        """Return the products of a month's image quality."""
        names = (f"psfmoments_{month}.parquet", f"psfmoments_{month}.png", f"IQ_timeline_{month}.png")
        return [f"{self.settings.results}/months/{month}/{name}" for name in names]

    def inputs(self, stage: str, month: str) -> list[str]:
        """Return the products of months that a month's stage reads, of those that are asked for."""
        return self._expected.inputs(stage, month)

    @cached_property
    def _expected(self) -> Expected:
        return Expected(self)

    def tiles(self, month: str) -> list[str]:
        """Return what stands for the tiles of a month's frames."""
        return [self.tiles_of(month, e) for e in self.exposures(month)]

    def tiles_of(self, month: str, exposure: str) -> str:
        """Return the list of an exposure's tiles for the site, which stands for them."""
        return f"{self.settings.results}/site/tiles/{month}/{exposure}/tiles.js"

    def summary_tables(self, month: str) -> list[str]:
        """Return what stands for all levels and moments of a month: tables that are made of them.

        A month's products hang on each other rather than on two thousand files each:
        every file they name costs planning.
        """
        levels = self.quadrant_tables(month)
        if levels and "radiation" in self.parts:
            levels = [f"{self.settings.results}/months/{month}/detector_{month}.parquet"]
        return [*levels, self.quality(month)[0]]

    def tables_of_exposures(self, month: str) -> list[str]:
        """Return tables of a month that are made when all tables of its exposures are."""
        tables = [self.quality(month)[0], f"{self.settings.results}/months/{month}/status.tsv"]
        if "gaia" in self.parts:
            tables += self.gaia.geometry(month)
        if "radiation" in self.parts:
            tables += self.radiation.month(month)
        return tables

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(type(self.settings).model_fields)

    def legacy(self, month: str) -> list[str]:
        """Return all text tables of the original for a month and its exposures."""
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
        """Return a file with the settings of some sections, which is all that a rule's command sees.

        The name changes with the content, so that a rule that carries it in its
        ``params`` runs again exactly when one of its own settings changed.
        """
        values = self.values(*sections)
        return self._written("-".join((*sections, digest(values))), values)

    def params(self, stage: str) -> dict[str, Any]:
        """Return what a stage's rule carries in its ``params``: all that changes its result.

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
        """Return a hash of the settings that change a stage's result."""
        some = [
            repr(getattr(getattr(self.settings, section), name))
            for section, names in stage.counted.items()
            for name in names
        ]
        return digest(self.values(*(s for s in stage.settings if s not in stage.counted)), *some)

    def stable_config(self, name: str, *sections: str) -> str:
        """Return a file as `config_of` does, but of one name: no change of settings reruns its rule."""
        return self._written(name, self.values(*sections))

    def values(self, *sections: str) -> dict[str, Any]:
        """Return the settings of some sections as plain values."""
        return self.settings.model_dump(mode="json", include={"instrument", *sections})

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
        """Return what is to be said after a run that succeeded: empty months, what the next run uses."""
        notes = [
            Path(path)
            for path in (*self.gaia.pending_queries, *self.radiation.pending_queries)
            if path.endswith(".txt") and Path(path).is_file()
        ]
        changed = [n.stem for n in notes if n.read_text(encoding="utf-8").startswith("changed")]
        said = []
        if empty := [month for month, rows in self.sheets.items() if not rows]:
            said.append(
                f"Nothing was made of {', '.join(empty)}: no exposures in {', '.join(self.settings.raw)}"
            )
        if changed:
            said.append(f"New since it was asked for again: {', '.join(changed)}. Run again to use it.")
        return "\n".join(said)

    def failure_summary(self) -> str:
        """Return what failed in the configured months, one exposure a line; "" if nothing did."""
        paths = [sheet_path(Path(self.settings.results), month) for month in self.months]
        sheets = [path for path in paths if path.is_file()]
        return failure_summary([state for path in sheets for state in exposure_states(self.registry, path)])

    def facts(self, *names: str) -> str:
        """Return a hash that changes with some of the instrument's facts."""
        return digest(self.instrument.model_dump(mode="json", include=set(names)))

    @property
    def threshold_file(self) -> str:
        """The file of dated limits."""
        return str(find_data_file("thresholds", self.settings.quality.thresholds))
