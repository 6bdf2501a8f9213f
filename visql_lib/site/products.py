"""What each product of an exposure is called, where it belongs, and the command that makes it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from visql_lib.config import Settings
from visql_lib.site.steps import workflow_command
from visql_lib.tables.gaia_store import tile_path
from visql_lib.tables.sheet import SheetRow

ZOOMS = ("tl", "tc", "tr", "cl", "cc", "cr", "ll", "lc", "lr")
CATALOGUED = ("SCIENCE", "DARK", "FLAT")

FRAME, QUALITY, PHOTOMETRY, RADIATION, TABLES, OTHERS = (
    "Frame",
    "Image quality",
    "Photometry and astrometry",
    "Radiation and the Sun",
    "Tables",
    "Other files",
)


@dataclass(frozen=True)
class Product:
    """A product of an exposure: what follows its name, its title, its group, and the rule that makes it."""

    ending: str
    title: str
    group: str
    rule: str


_ROWS = {"t": "top", "c": "centre", "l": "lower"}
_SIDES = {"l": "left", "c": "centre", "r": "right"}

_KNOWN = (
    Product(".png", "Whole focal plane", FRAME, "catalog"),
    *(Product(f"_{z}.png", f"Zoom {_ROWS[z[0]]} {_SIDES[z[1]]}", FRAME, "catalog") for z in ZOOMS),
    Product("_iq.png", "Image quality at a glance", QUALITY, "pictures"),
    Product("_stars2_mom_map3.png", "Maps of R², coma, ellipticity, trefoil", QUALITY, "pictures"),
    Product("_stars2_mom.png", "Moments against X and Y", QUALITY, "pictures"),
    Product("_chimney.png", "Radius-flux diagram, all detections", QUALITY, "pictures"),
    Product("_chimney2.png", "Radius-flux diagram, selected stars", QUALITY, "pictures"),
    Product("_chimney4.png", "Magnitude against radius, inner field", QUALITY, "pictures"),
    Product("_stars2.png", "Stars over the focal plane", QUALITY, "pictures"),
    Product("_stars2_fluxrat_bprp.png", "VIS/Gaia against colour", PHOTOMETRY, "gaia_match"),
    Product("_stars2_x_gaia_dxdy.png", "Astrometric residuals", PHOTOMETRY, "gaia_match"),
    Product("_stars2_gaia.png", "Gaia stars on the detectors", PHOTOMETRY, "gaia_match"),
    Product("_cosmiX.png", "Map of X-rays", RADIATION, "radiation"),
    Product("_cosmics.png", "Map of cosmic rays", RADIATION, "radiation"),
    Product("_protons.png", "Map of protons", RADIATION, "radiation"),
    Product("_rf.png", "Particles by radius and flux", RADIATION, "radiation"),
    Product("_goes.png", "X-ray flux of the Sun", RADIATION, "radiation"),
    Product(".cat.parquet", "Source catalogue", TABLES, "catalog"),
    Product("_quadrants.parquet", "Levels and noise per quadrant", TABLES, "catalog"),
    Product("_stars2.parquet", "Selected stars", TABLES, "stars"),
    Product("_stars2_mom.parquet", "PSF moments", TABLES, "moments"),
    Product("_stars2_stamps.parquet", "Cut-outs of stars", TABLES, "moments"),
    Product("_stars2_gaia.parquet", "Gaia stars in focal-plane coordinates", TABLES, "gaia_match"),
    Product("_frat.parquet", "VIS/Gaia flux ratios", TABLES, "gaia_match"),
    Product("_x_gaia_dxdy.parquet", "Astrometric solution per CCD", TABLES, "gaia_match"),
    Product("_x_gaia_dxdy.txt", "Astrometric solution, to read", TABLES, "gaia_match"),
    Product("_stars2_mom_col.parquet", "Moments with colours", TABLES, "gaia_match"),
    Product("_radiation.parquet", "Particles per quadrant", TABLES, "radiation"),
    Product("_radmaps.parquet", "Maps of particles", TABLES, "radiation"),
    Product(".wcs", "Plate solution", TABLES, "plate"),
)
PRODUCTS: dict[str, Product] = {p.ending: p for p in _KNOWN}

_CATEGORY = {
    "pictures": "quality",
    "stars": "quality",
    "moments": "quality",
    "gaia_match": "photometry",
    "plate": "photometry",
    "radiation": "radiation",
}

# Rule -> its command; words in braces are filled in, each word is quoted by itself. The workflow adds
# --record-failure; by hand one wants to see the error.
_COMMANDS = {
    "catalog": "visql catalog {raw} -o {stem}.cat.parquet --quadrants {stem}_quadrants.parquet"
    " --previews {stem}",
    "preview": "visql preview {raw} -o {stem} --quadrants {stem}_quadrants.parquet",
    "stars": "visql stars {stem}.cat.parquet -o {stem}_stars2.parquet",
    "moments": "visql moments {raw} {stem}_stars2.parquet -o {stem}_stars2_mom.parquet"
    " --stamps {stem}_stars2_stamps.parquet",
    "pictures": "visql pictures {stem}.cat.parquet {stem}_stars2.parquet {stem}_stars2_mom.parquet -o {stem}"
    " --stamps {stem}_stars2_stamps.parquet --cutout {stem}_lr.png",
    "pictures_flat": "visql pictures {stem}.cat.parquet {stem}_stars2.parquet --only chimney2 -o {stem}",
    "pictures_without_raw": "visql pictures {stem}_stars2_mom.parquet -o {stem}",
    "gaia_match": "visql gaia-match {stem}_stars2_mom.parquet {tiles} --sheet {sheet}"
    " --project {stem}_stars2_gaia.parquet -o {stem}_frat.parquet"
    " --solution {stem}_x_gaia_dxdy.txt --table {stem}_x_gaia_dxdy.parquet"
    " --colours {stem}_stars2_mom_col.parquet --pictures {stem}",
    "radiation": "visql radiation {stem}.cat.parquet -o {stem}_radiation.parquet"
    " --maps {stem}_radmaps.parquet"
    " --quadrants {stem}_quadrants.parquet --pictures {stem} --sheet {sheet} --hours {hours} {goes}",
    "plate": "visql plate-solve {stem}_stars2.parquet {plate_tiles} -o {stem}.wcs --ra={ra} --dec={dec}"
    " --quadrants {stem}_quadrants.parquet",
}
RULES = tuple(_COMMANDS)

# Rule -> what it cannot do without.
REQUIRES = {
    "stars": (".cat.parquet",),
    "moments": ("_stars2.parquet",),
    "pictures": (".cat.parquet", "_stars2.parquet", "_stars2_mom.parquet", "_stars2_stamps.parquet"),
    "pictures_flat": (".cat.parquet", "_stars2.parquet"),
    "pictures_without_raw": ("_stars2_mom.parquet",),
    "gaia_match": ("_stars2_mom.parquet",),
    "radiation": (".cat.parquet", "_quadrants.parquet"),
    "plate": ("_stars2.parquet",),
}


def product_of(ending: str) -> Product:
    """Return what is known of a product; one nobody knows is just a file."""
    return PRODUCTS.get(ending) or Product(ending, "", OTHERS, "")


def rule_of(ending: str, row: SheetRow) -> str:
    """Return the rule that makes a product of an exposure, "" if none is known."""
    rule = product_of(ending).rule
    if rule == "catalog" and row.frame_type not in CATALOGUED:
        return "preview"
    if rule == "pictures" and row.frame_type == "FLAT":
        return "pictures_flat"
    if rule == "pictures" and not row.file:
        return "pictures_without_raw"
    return rule


def log_of(rule: str, row: SheetRow, month: str) -> str:
    """Return where a rule's log is, relative to the results."""
    folder = rule.removesuffix("_flat").removesuffix("_without_raw")
    return f"logs/{folder}/{month}/{row.exposure}.log"


def category_of(ending: str, frame_type: str) -> str:
    """Return the category whose status a missing product changes."""
    if frame_type == "SCIENCE":
        return _CATEGORY.get(product_of(ending).rule, "quality")
    return "radiation" if product_of(ending).rule == "radiation" else "calibration"


@dataclass(frozen=True)
class Commands:
    """Writes the commands of one exposure.

    ``config`` is the file of settings they get, "" for none; ``metas`` what its
    tables say of themselves, by ending.
    """

    row: SheetRow
    month: str
    settings: Settings
    config: str
    metas: Mapping[str, Mapping[str, Any]]

    @property
    def stem(self) -> str:
        """The path of the products without their endings, as the workflow names it."""
        name = self.row.exposure
        return f"{self.settings.results}/exposures/{self.month}/{name}/{name}"

    def of(self, rule: str) -> str:
        """Return the command of a rule, to paste into a shell."""
        lists = {"{tiles}": self._tiles(), "{goes}": self._goes()}
        lists["{plate_tiles}"] = [f"--tiles={tile}" for tile in lists["{tiles}"]]
        values = {
            "raw": self.row.file or "RAW",
            "stem": self.stem,
            "exposure": self.row.exposure,
            "ra": repr(self.row.ra),
            "dec": repr(self.row.dec),
            "pa": repr(self.row.pa),
            "date": self.row.date_obs,
            "sheet": f"{self.settings.results}/exposures/{self.month}.tsv",
            "hours": f"{self.settings.goes.hours:g}",
        }
        words: list[str] = []
        for word in _COMMANDS[rule].split():
            words += lists[word] if word in lists else [word.format_map(values)]
        if self.config:
            words += ["--config", self.config]
        return shlex.join(words)

    def workflow(self, endings: Sequence[str]) -> str:
        """Return the command by which the workflow makes products with all they need."""
        paths = [self.stem + ending for ending in endings]
        return workflow_command(paths, self.month, self.settings.results, self.config)

    def _inputs(self, ending: str, pattern: str) -> list[str]:
        inputs = self.metas.get(ending, {}).get("inputs", [])
        return [name for name in inputs if re.fullmatch(pattern, str(name))]

    def _tiles(self) -> list[str]:
        folder = tile_path(self.settings, 0).parent
        return [str(folder / name) for name in self._inputs("_stars2_gaia.parquet", r"\d+\.parquet")] or [
            "TILES"
        ]

    def _goes(self) -> list[str]:
        names = self._inputs("_radiation.parquet", r"goes_\d{8}\.parquet")
        return [f"--goes={Path(self.settings.results) / 'goes' / name}" for name in names]


def made_of(meta: Mapping[str, Any]) -> str:
    """Return when and by what a table was made, in words; "" where it does not tell."""
    try:
        made = datetime.fromisoformat(str(meta.get("made", "")))
    except ValueError:
        return ""
    stage = f", {meta['stage']} {meta.get('stage_version', '')}" if meta.get("stage") else ""
    return f"{made:%Y-%m-%d %H:%M}{stage}"
