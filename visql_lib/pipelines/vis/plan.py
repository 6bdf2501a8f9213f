"""The plan of a run of VIS: months, exposures and inputs of the rules, as the workflow needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from visql_lib.config import Settings
from visql_lib.config.load import digest
from visql_lib.instruments.model import Instrument
from visql_lib.photometry.ratios import gain_table
from visql_lib.pipelines.vis.frame_stages import CATALOGUED
from visql_lib.pipelines.vis.gaia_plan import GaiaPlan
from visql_lib.pipelines.vis.radiation_plan import RadiationPlan
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.plan import Plan
from visql_lib.sheets.sheet import SheetRow


@dataclass(frozen=True)
class VisPlan(Plan):
    """The exposures of the configured months, and the paths of their products."""

    settings: VisSettings

    @classmethod
    def check(cls, settings: Settings, instrument: Instrument) -> None:
        """Check that the instrument has the gain model of the flux ratios."""
        assert isinstance(settings, VisSettings)
        if settings.gaia.sources:
            gain_table(instrument, settings.ratios.gain)

    def retry(self) -> None:
        """Repeat queries of tiles that failed and of days that are not final."""
        self.gaia.retry_failed()
        self.radiation.retry_incomplete()

    @cached_property
    def gaia(self) -> GaiaPlan:
        """The part of the plan for the match with reference stars."""
        return GaiaPlan(self)

    @cached_property
    def radiation(self) -> RadiationPlan:
        """The part of the plan for particles, the Sun and the other frame types."""
        return RadiationPlan(self)

    def common(self) -> str:
        """Hash what all jobs share: settings, the instrument, installed programs."""
        return digest(super().common(), str(self.radiation.installed))

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

    def quadrant_tables(self, month: str) -> list[str]:
        """List the tables of quadrants of a month; every readable frame has one."""
        return [f"{self.stem(month, e)}_quadrants.parquet" for e in self.exposures(month)]

    def pictures(self, month: str) -> list[str]:
        """List one picture per exposure of a month, which represents all its pictures of stars."""
        found = self.products("pictures", month, self.exposures(month, "SCIENCE"))
        found += self.products("pictures_flat", month, self.exposures(month, "FLAT"))
        return found + self.kept_pictures(month)

    def kept_pictures(self, month: str) -> list[str]:
        """List the missing pictures of exposures that have tables but no raw frame."""
        tables = self.existing_without_raw(month, "_stars2_mom.parquet")
        endings = self.registry["pictures_without_raw"].endings
        paths = [table.removesuffix("_stars2_mom.parquet") + end for table in tables for end in endings]
        return [path for path in paths if not Path(path).is_file()]

    def imported(self, month: str) -> list[str]:
        """List the imported table of a month, if there is one."""
        path = Path(self.settings.results) / "imported" / f"{month}.parquet"
        return [str(path)] if path.is_file() else []

    @cached_property
    def newest_months(self) -> list[str]:
        """The newest two months that were ever processed or are configured."""
        folder = Path(self.settings.results) / "months"
        made = {p.parent.name for p in folder.glob("*/psfmoments_*.parquet")}
        return sorted(made | set(self.groups()))[-2:]

    def newest_tables(self, *, configured: bool) -> list[str]:
        """List the image-quality tables of the newest months: of configured months, or of the others."""
        return [self.quality(m)[0] for m in self.newest_months if (m in self.groups()) == configured]

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

    def site_products(self, month: str) -> list[str]:
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

    def run_messages(self) -> str:
        """Compose the messages after a successful run: empty months, new data for the next run."""
        notes = [
            Path(path)
            for path in (*self.gaia.pending_queries, *self.radiation.pending_queries)
            if path.endswith(".txt") and Path(path).is_file()
        ]
        changed = [n.stem for n in notes if n.read_text(encoding="utf-8").startswith("changed")]
        messages = [super().run_messages()]
        if changed:
            messages.append(f"Updated by a repeated query: {', '.join(changed)}. Run again to use it.")
        return "\n".join(filter(None, messages))
