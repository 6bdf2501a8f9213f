"""What there is to make: months, exposures and their products, as the workflow needs to know them."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from visql_lib.config import Settings, find_data_file
from visql_lib.config.load import digest
from visql_lib.errors import ConfigError
from visql_lib.frames.instrument import Instrument, load_instrument
from visql_lib.frames.mosaic import ZOOM_POSITIONS
from visql_lib.photometry.ratios import gain_table
from visql_lib.plan.radiation import RadiationPlan
from visql_lib.plan.states import complaint, exposure_states
from visql_lib.tables.gaia_store import again_path, has_failed, is_filled, tile_path
from visql_lib.tables.imported import imported_ratios_path
from visql_lib.tables.sheet import (
    USABLE,
    WITHOUT_RAW,
    SheetRow,
    read_sheet,
    refresh_sheets,
    sheet_path,
)
from visql_lib.tables.store import atomic_path

log = logging.getLogger(__name__)

CATALOGUED = ("SCIENCE", "DARK", "FLAT")  # frame types that get a catalogue
AUTO_DAYS = 3  # last month is still worked on during the first days of this one

SCIENCE_PICTURES = ("chimney", "chimney2", "chimney4", "stars2", "stars2_mom", "stars2_mom_map3", "iq")

# The original's text tables of a month's image quality, and of an exposure.
QUALITY_TEXTS = (".txt", "_score.txt", "_score.csv", "_le1_score.txt", "_le1_score.csv")
GAIA_PICTURES = ("stars2_gaia", "stars2_x_gaia_dxdy", "stars2_fluxrat_bprp")
MOMENT_PICTURES = ("stars2_mom", "stars2_mom_map3")  # all that moments alone can show


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


def _on_sky(row: SheetRow) -> bool:
    """Say whether the header gives a place on the sky."""
    return math.isfinite(row.ra) and abs(row.ra) <= 360 and abs(row.dec) <= 90


@dataclass(frozen=True)
class Plan:
    """The exposures of the configured months and where their products go."""

    settings: Settings
    instrument: Instrument
    sheets: dict[str, list[SheetRow]]
    asking: list[str] = field(default_factory=list)  # tiles, or notes of tiles, asked for (again) in this run

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
        plan = cls(settings, instrument, refresh_sheets(settings, instrument, months))
        plan.ask_again()
        plan.radiation.ask_again()
        return plan

    def alone(self) -> FileLock:
        """Return a lock that this process holds as long as it lives: one run at a time works on the results.

        Raises
        ------
        ConfigError
            If another process holds it.
        """
        results = Path(self.settings.results)
        results.mkdir(parents=True, exist_ok=True)
        lock = FileLock(results / ".run.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(
                f"results: another run is at work on {results}; wait for its end, or stop it"
            ) from error
        except NotImplementedError:
            log.warning("%s: its file system has no locks; see that only one run works there", results)
        return lock

    @cached_property
    def radiation(self) -> RadiationPlan:
        """What there is to make of particles, the Sun and the other frame types."""
        return RadiationPlan(self)

    @property
    def months(self) -> list[str]:
        """The months, YYYYMM."""
        return list(self.sheets)

    @cached_property
    def _rows(self) -> dict[tuple[str, str], SheetRow]:
        return {(month, row.exposure): row for month, rows in self.sheets.items() for row in rows}

    def makes(self, part: str) -> bool:
        """Say whether the default target makes a part."""
        return part in self.settings.parts

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

    def others(self, *types: str) -> list[str]:
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

    def moments(self, month: str) -> list[str]:
        """Return the moments tables of a month, measured now, before, and imported."""
        found = [f"{self.stem(month, e)}_stars2_mom.parquet" for e in self.exposures(month, "SCIENCE")]
        return found + self.kept(month, "_stars2_mom.parquet")

    def kept(self, month: str, ending: str) -> list[str]:
        """Return the tables of one kind that exposures without raw frame have."""
        rows = [r for r in self.sheets.get(month, []) if r.status in WITHOUT_RAW]
        paths = [self.stem(month, r.exposure) + ending for r in rows]
        return [path for path in paths if Path(path).is_file()]

    def levels(self, month: str) -> list[str]:
        """Return the tables of quadrants of a month: what every readable frame has."""
        return [f"{self.stem(month, e)}_quadrants.parquet" for e in self.exposures(month)]

    def pictures(self, month: str) -> list[str]:
        """Return pictures to ask for, so that all pictures of single exposures of a month are made.

        One product stands for all that are made with it: asking for every one
        would double the time of planning. A missing companion is asked for.
        """
        found = [f"{self.stem(month, e)}_iq.png" for e in self.exposures(month, "SCIENCE")]
        found += [f"{self.stem(month, e)}_chimney2.png" for e in self.exposures(month, "FLAT")]
        zooms = ("", *(f"_{zoom}" for zoom in ZOOM_POSITIONS))
        for exposure in self.exposures(month):
            found += self.lost(month, exposure, "_quadrants.parquet", zooms)
        for exposure in self.exposures(month, "SCIENCE"):
            found += self.lost(month, exposure, "_iq.png", [f"_{name}" for name in SCIENCE_PICTURES])
        for table in self.kept(month, "_stars2_mom.parquet"):
            wanted = [f"{table.removesuffix('_stars2_mom.parquet')}_{name}.png" for name in MOMENT_PICTURES]
            found += [path for path in wanted if not Path(path).is_file()]
        return found

    def lost(self, month: str, exposure: str, product: str, pictures: Iterable[str]) -> list[str]:
        """Return which of the pictures that are made with a product are not there although it is."""
        stem, have = self.stem(month, exposure), self._files(month, exposure)
        if exposure + product not in have:
            return []
        return [f"{stem}{name}.png" for name in pictures if f"{exposure}{name}.png" not in have]

    @cached_property
    def _listings(self) -> dict[str, frozenset[str]]:
        return {}

    def _files(self, month: str, exposure: str) -> frozenset[str]:
        """Return the names of the files an exposure has; its folder is looked at once."""
        folder = os.path.dirname(self.stem(month, exposure))  # noqa: PTH120
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))  # noqa: PTH208
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]

    def pointed(self, month: str) -> list[str]:
        """Return the SCIENCE exposures of a month that are matched: the header says where they point."""
        if not self.settings.gaia.sources:
            return []
        rows = self.sheets.get(month, [])
        return [r.exposure for r in rows if r.status in USABLE and r.frame_type == "SCIENCE" and _on_sky(r)]

    def tiles(self, month: str, exposure: str) -> list[str]:
        """Return the tiles of reference stars an exposure needs."""
        row = self.row(month, exposure)
        if row is None or not _on_sky(row):
            return []
        gaia = self.settings.gaia
        tiles = _tiles_around(row.ra, row.dec, gaia.radius, gaia.nside)
        return [str(tile_path(self.settings, tile)) for tile in tiles]

    @property
    def tile_pattern(self) -> str:
        """The path of a tile, with the wildcard ``tile`` in place of its number."""
        return str(tile_path(self.settings, 0).with_name("{tile}.parquet"))

    def ask_again(self) -> None:
        """Remove tiles that answer another question, and notes of queries that failed long enough ago.

        A tile whose query failed stays until it is answered: else all exposures on it
        would be worked on again at each run while a service is down.
        """
        folder = tile_path(self.settings, 0).parent
        used = {tile for month in self.months for e in self.pointed(month) for tile in self.tiles(month, e)}
        for path in sorted(folder.glob("*.parquet")) if folder.is_dir() else ():
            if not path.stem.isdecimal() or is_filled(path, int(path.stem), self.settings):
                continue
            if not has_failed(path, self.settings):
                path.unlink()
            elif str(path) in used:
                asked = again_path(self.settings, int(path.stem))
                last = max(p.stat().st_mtime for p in (path, asked) if p.is_file())
                if time.time() - last >= self.settings.gaia.rest:
                    asked.unlink(missing_ok=True)
                    self.asking.append(str(asked))
        # Snakemake does not miss a file between others that are there.
        self.asking.extend(path for path in sorted(used) if not Path(path).is_file())

    @property
    def match_settings(self) -> str:
        """A hash of the settings that decide what a match gives, whoever gave the reference stars."""
        names = ("nside", "radius", "faintest", "max_error", "proper_motions")
        stars = [repr(getattr(self.settings.gaia, name)) for name in names]
        return digest(self._values("astrometry", "ratios", "pictures"), *stars)

    def matched(self, month: str, ending: str = "_frat.parquet") -> list[str]:
        """Return the tables of one kind that the match with reference stars gives, made now and before."""
        found = [f"{self.stem(month, e)}{ending}" for e in self.pointed(month)]
        return found + self.kept(month, ending)

    def gaia_pictures(self, month: str) -> list[str]:
        """Return pictures of the match that got lost: they come with its tables."""
        names = [f"_{name}" for name in GAIA_PICTURES]
        return [p for e in self.pointed(month) for p in self.lost(month, e, "_frat.parquet", names)]

    def imported_ratios(self, month: str) -> list[str]:
        """Return the table of flux ratios imported for a month, if there is one."""
        path = imported_ratios_path(Path(self.settings.results), month)
        return [str(path)] if path.is_file() else []

    def ratio_table(self, month: str) -> str:
        """Return the table of a month's flux ratios."""
        return f"{self.settings.results}/months/{month}/ratios_{month}.parquet"

    def ratio_tables(self, *, configured: bool) -> list[str]:
        """Return the tables of flux ratios of the configured months, or of the others that have one."""
        folder = Path(self.settings.results) / "months"
        made = {p.parent.name for p in folder.glob("*/ratios_*.parquet")}
        wanted = {m for m in self.months if self.gaia(m)} if configured else made - set(self.months)
        return [self.ratio_table(month) for month in sorted(wanted)]

    def ratio_pictures(self, month: str) -> list[str]:
        """Return the pictures of a month's flux ratios."""
        classes = self.instrument.exposure_classes
        names = [f"iceplot_FPA_{month}_{exptime:g}.png" for exptime in classes.values()]
        names += [f"VISGaia_FPA_{cls.upper()}_{month}.png" for cls in classes]
        return [f"{self.settings.results}/months/{month}/{name}" for name in names]

    def gaia(self, month: str) -> list[str]:
        """Return the products of a month's match with the reference stars."""
        if not self.matched(month) and not self.imported_ratios(month):
            return []
        return [*self.gaia_pictures(month), *self.geometry(month), self.ratio_pictures(month)[0]]

    def geometry(self, month: str) -> list[str]:
        """Return the geometry of a month, which stands for all its matches; none where nothing is matched."""
        path = f"{self.settings.results}/months/{month}/geometry_{month}.parquet"
        return [path] if self.matched(month) else []

    def trend(self) -> list[str]:
        """Return the trend and what it says of the configured months, where one has a part in it."""
        with_ratios = [month for month in self.months if self.gaia(month)]
        root = self.settings.results
        return [f"{root}/timeline/trend.parquet"] * bool(with_ratios) + [
            f"{root}/months/{month}/trend_{month}.parquet" for month in with_ratios
        ]

    def trend_pictures(self) -> list[str]:
        """Return the pictures of the flux ratios of all months."""
        names = [
            f"{name}.png" for cls in self.instrument.exposure_classes for name in trend_picture_names(cls)
        ]
        return [f"{self.settings.results}/timeline/{name}" for name in names]

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

    def pages(self, month: str) -> list[str]:
        """Return what the site of a month waits for: its tables, and the tiles of its frames."""
        tiles = f"{self.settings.results}/site/tiles/{month}"
        return [*self.month_tables(month), *(f"{tiles}/{e}/tiles.js" for e in self.exposures(month))]

    def judged(self, month: str) -> list[str]:
        """Return what stands for all levels and moments of a month: tables that are made of them.

        A month's products hang on each other rather than on two thousand files each:
        every file they name costs planning.
        """
        levels = self.levels(month)
        if levels and self.makes("radiation"):
            levels = [f"{self.settings.results}/months/{month}/detector_{month}.parquet"]
        return [*levels, self.quality(month)[0]]

    def month_tables(self, month: str) -> list[str]:
        """Return what judges a month."""
        root = self.settings.results
        tables = [self.quality(month)[0], f"{root}/months/{month}/status.tsv"]
        if self.makes("gaia"):
            tables += self.gaia(month)
        if self.makes("radiation"):
            tables += self.radiation.month(month)
        return tables

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(type(self.settings).model_fields)

    def legacy(self, month: str) -> list[str]:
        """Return all text tables of the original for a month and its exposures."""
        root = self.quality(month)[0].removesuffix(".parquet")
        found = [f"{root}{ending}" for ending in QUALITY_TEXTS]
        found.append(f"{self.settings.results}/months/{month}/fitslist{month}.txt")
        found += [f"{self.stem(month, e)}.cat.gz" for e in self.exposures(month, *CATALOGUED)]
        found += [f"{self.stem(month, e)}_stars2.cat" for e in self.exposures(month, "SCIENCE", "FLAT")]
        found += [path.replace(".parquet", ".cat") for path in self.moments(month)]
        for ending, text in (("_stars2_gaia", ".cat"), ("_stars2_mom_col", ".cat"), ("_frat", ".txt")):
            tables = self.matched(month, f"{ending}.parquet")
            found += [path.replace(".parquet", text) for path in tables]
        if self.gaia(month):
            found.append(f"{self.settings.results}/months/{month}/vis-over-gaia")
        return found + [path.replace(".parquet", ".cat") for path in self.kept(month, "_stars2.parquet")]

    def config_of(self, *sections: str) -> str:
        """Return a file with the settings of some sections, which is all that a rule's command sees.

        The name changes with the content, so that a rule that carries it in its
        ``params`` runs again exactly when one of its own settings changed.
        """
        values = self._values(*sections)
        return self._written("-".join((*sections, digest(values))), values)

    def standing_config(self, name: str, *sections: str) -> str:
        """Return a file as `config_of` does, but of one name: no change of settings reruns its rule."""
        return self._written(name, self._values(*sections))

    def _values(self, *sections: str) -> dict[str, Any]:
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

    def news(self) -> str:
        """Return what asking again brought, which the next run uses; "" if nothing."""
        notes = [
            Path(path)
            for path in (*self.asking, *self.radiation.asking)
            if path.endswith(".txt") and Path(path).is_file()
        ]
        changed = [n.stem for n in notes if n.read_text(encoding="utf-8").startswith("changed")]
        return (
            f"New since it was asked for again: {', '.join(changed)}. Run again to use it." if changed else ""
        )

    def complaint(self) -> str:
        """Return what failed in the configured months, one exposure a line; "" if nothing did."""
        paths = [sheet_path(Path(self.settings.results), month) for month in self.months]
        return complaint([state for path in paths if path.is_file() for state in exposure_states(path)])

    def facts(self, *names: str) -> str:
        """Return a hash that changes with some of the instrument's facts."""
        return digest(self.instrument.model_dump(mode="json", include=set(names)))

    @property
    def threshold_file(self) -> str:
        """The file of dated limits."""
        return str(find_data_file("thresholds", self.settings.quality.thresholds))


@cache
def _tiles_around(ra: float, dec: float, radius: float, nside: int) -> tuple[int, ...]:
    from visql_lib.archives.tiles import tiles_of

    return tiles_of(ra, dec, radius, nside)


def trend_picture_names(cls: str) -> list[str]:
    """Return the names of the pictures of the trend of a class of exposures, without their ending."""
    timelines = [f"iceplot_{field}{cls}{end}" for field in ("", "selfcal_") for end in ("", "2", "3")]
    return [*timelines, f"iceplot_diag_{cls}", f"iceplot_xdiag_{cls}", f"loss_{cls}", f"loss_map_{cls}"]
