"""Frames whose headers lie: impossible values, absent, doubled, of another type; made from one good frame by a seed.

A seed is one frame. `month_of` runs the steps of a month in this process, as their commands are called.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import corpus
import numpy as np
from click.testing import CliRunner

from visql_lib.cli import cli
from visql_lib.pipelines.vis.frame_stages import CATALOGUED, RADIATED
from visql_lib.products.plan import Plan
from visql_lib.sheets.sheet import USABLE, SheetRow
from visql_lib.tables import read_table

MONTH = "202407"
TRUE = {
    "DATE-OBS": "'2024-07-20T01:00:30.5'",
    "EXPTIME": "560.52",
    "IMG_T1": "'SURV_WIDE'",
    "IMG_T2": "'OTHER'",
}
TRUE |= {"RA": "56.2", "DEC": "-55.7", "PA": "46.0", "SAA": "91.6", "ALPHA": "-4.5"}
TRUE |= {"OBS_ID": "'52148'", "DITHOBS": "1"}

_NUMBERS = [
    "-9999",
    "-9999.0",
    "-999.0",
    "-99.0",
    "9999",
    "0",
    "0.0",
    "-0.0",
    "-1",
    "1.0E30",
    "1.0E9",
    "1.0E300",
    "-1.0E30",
]
_NUMBERS += [
    "1E400",
    "NaN",
    "Inf",
    "3.0E7",
    "3600.5",
    "1e-30",
    "9.96921E36",
    "-32768",
    "99999999999999999999",
    "361",
    "-361",
]
_TEXTS = [
    "'text'",
    "''",
    "' '",
    "'-9999'",
    "'nan'",
    "'12:34:56.7'",
    "'-12 34 56'",
    "'25:61:61'",
    "'1,5'",
    "'unended",
]
_OTHERS = [
    "T",
    "F",
    "(1.0, 2.0)",
    "",
    "/ nothing",
    "1,5",
    "abc",
    "''''",
    "'a''b'",
    "\xe4",
    "\x00",
    "'\x1b[2J'",
]
_DATES = [
    "'2204-07-20T01:00:00'",
    "'2024-07-20'",
    "'2024-07-19T01:00:00'",
    "'1990-01-01T00:00:00'",
    "'20/07/24'",
]
_DATES += [
    "'2024-07-20T25:00:00'",
    "'2024-07-20T01:00:60'",
    "'9999-12-31T23:59:59+00:01'",
    "'0001-01-01T00:00:00'",
]
_DATES += ["'2024-07-20T01:30:00'", "'2024-13-41T01:00:00'", "'2024-07-20T01:00:00.123456789'", "2460511.5"]
_TYPES = ["'DARK'", "'BIAS'", "'FLAT'", "'CHARGE'", "'TRAP'", "'SURV_WIDE'", "'OTHER'", "'nonsense'"]
_KEYS = [*TRUE, "CALBLKID", "CALBLKVR", "TIME-OBS"]
_OF_QUADRANTS = ["CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2"]


@dataclass(frozen=True)
class Liar:
    """A frame whose header lies, and what about."""

    seed: int
    what: str
    data: bytes
    suffix: str

    @property
    def stem(self) -> str:
        """The exposure: a minute of the day, and the seed."""
        return f"C_20240720_{self.seed // 60 % 24:02d}{self.seed % 60:02d}00_W_{self.seed:08X}.VIS.bin_01_01"


def truthful(good: bytes, time: str = "01:00:30.5") -> bytes:
    """Return the good frame with all cards of `TRUE`."""
    for key, value in TRUE.items():
        good = corpus.with_card(good, 0, key, corpus.card(key, value))
    return corpus.with_card(good, 0, "DATE-OBS", corpus.card("DATE-OBS", f"'2024-07-20T{time}'"))


def liar(good: bytes, seed: int, salt: str = "") -> Liar:
    """Make one frame: one to three cards of its headers lie."""
    chance = random.Random(f"{salt} {seed}")
    minute = f"{seed // 60 % 24:02d}:{seed % 60:02d}:30.0"
    data, said = truthful(good, minute), []
    for _ in range(chance.randint(1, 3)):
        hdu = chance.randint(1, 4) if chance.random() < 0.15 else 0
        key = chance.choice(_OF_QUADRANTS if hdu else _KEYS)
        how = chance.choice(["value", "value", "value", "absent", "doubled"])
        pool = _DATES if key == "DATE-OBS" and chance.random() < 0.7 else [*_NUMBERS, *_TEXTS, *_OTHERS]
        value = chance.choice(_TYPES if key.startswith("IMG_T") and chance.random() < 0.7 else pool)
        text = b"COMMENT a card that is not there".ljust(80) if how == "absent" else corpus.card(key, value)
        at = chance.choice(["CALBLKID", "DITHOBS"]) if how == "doubled" and not hdu else key
        data = corpus.with_card(data, hdu, at, text[:80])
        said.append(f"{key} {how} {value if how != 'absent' else ''}".strip())
    suffix = chance.choice([".fits"] * 8 + [".fit", ".FITS"])
    return Liar(seed, "; ".join(said), data, suffix)


def write(folder: Path, frames: list[Liar]) -> None:
    """Put frames into a raw folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        (folder / f"{frame.stem}{frame.suffix}").write_bytes(frame.data)


class Finding(AssertionError):
    """A step that did not end as it should."""


def visql(*arguments: object) -> None:
    """Run a command in this process; it must end well, and without a traceback."""
    words = [str(a) for a in arguments]
    done = CliRunner().invoke(cli, words)
    if done.exit_code or "Traceback" in done.output:
        raise Finding(f"visql {' '.join(words)}: {done.output}{done.exception!r}") from done.exception


def month_of(plan: Plan, config: Path) -> None:
    """Run the steps of a month that measure, without pictures."""
    results = Path(plan.settings.results)
    sheet = results / "exposures" / f"{MONTH}.tsv"
    recorded = ("--record-failure", "--config", config)
    for row in plan.sheets[MONTH]:
        if row.status not in USABLE:
            continue
        stem = plan.stem(MONTH, row.exposure)
        Path(stem).parent.mkdir(parents=True, exist_ok=True)
        if row.frame_type in CATALOGUED:
            visql(
                "catalog",
                row.file,
                "-o",
                f"{stem}.cat.parquet",
                "--quadrants",
                f"{stem}_quadrants.parquet",
                *recorded,
            )
        else:
            visql("preview", row.file, "-o", stem, "--quadrants", f"{stem}_quadrants.parquet", *recorded)
        if row.frame_type == "SCIENCE":
            visql("stars", f"{stem}.cat.parquet", "-o", f"{stem}_stars2.parquet", *recorded)
            visql(
                "moments", row.file, f"{stem}_stars2.parquet", "-o", f"{stem}_stars2_mom.parquet", *recorded
            )
        if row.frame_type in RADIATED:
            tables = ("--maps", f"{stem}_radmaps.parquet", "--quadrants", f"{stem}_quadrants.parquet")
            visql(
                "radiation",
                f"{stem}.cat.parquet",
                "-o",
                f"{stem}_radiation.parquet",
                *tables,
                *recorded,
            )
    folder = results / "months" / MONTH
    folder.mkdir(parents=True)
    angles = folder / f"angles_{MONTH}.parquet"
    visql("quality", sheet, "-o", folder / f"psfmoments_{MONTH}.parquet", "--config", config)
    visql("angles", sheet, "-o", angles, "--text", folder / "angles.txt", "--config", config)
    visql(
        *("month-radiation", sheet, "--angles", angles, "-o", folder / f"radiation_{MONTH}.parquet"),
        *("--leak", folder / f"leak_{MONTH}.parquet", "--config", config),
    )
    visql(
        *("detector", sheet, "-o", folder / f"detector_{MONTH}.parquet", "--config", config),
        *(
            "--frames",
            folder / f"detector_frames_{MONTH}.parquet",
            "--hot-pixels",
            folder / f"hot_pixels_{MONTH}.parquet",
        ),
    )
    visql("status", sheet, "-o", folder / "status.tsv", "--tolerate", "--config", config)


TABLES = (".cat", "_quadrants", "_stars2", "_stars2_mom", "_radiation", "_radmaps")
OF_MONTHS = ("psfmoments", "angles", "radiation")  # whose rows hang on their exposure alone


def numbers_of(plan: Plan, exposure: str) -> dict[str, dict[str, np.ndarray]]:
    """Return all values of an exposure: those of its tables, and its rows of the month's."""
    found = {name: dict(read_table(Path(plan.stem(MONTH, exposure) + f"{name}.parquet"))) for name in TABLES}
    for name in OF_MONTHS:
        table = read_table(Path(plan.settings.results) / "months" / MONTH / f"{name}_{MONTH}.parquet")
        found[name] = {column: values[table["EXPOSURE"] == exposure] for column, values in table.items()}
    return found


def differences(one: dict[str, dict[str, np.ndarray]], other: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Return the tables and columns in which two exposures differ in any value."""
    return [
        f"{table}: {column}"
        for table, columns in one.items()
        for column, values in columns.items()
        if len(values) != len(other[table][column])
        or not np.array_equal(values, other[table][column], equal_nan=values.dtype.kind in "fM")
    ]


def senseless(row: SheetRow) -> list[str]:
    """Return what a row of the sheet says that cannot be, or says without a reason."""
    limits = {"ra": (-180, 360), "dec": (-90, 90), "pa": (-360, 360), "saa": (0, 180), "alpha": (-360, 360)}
    limits |= {"exptime": (0, 3600)}
    wrong = [
        n for n, (low, high) in limits.items() if not (np.isnan(v := getattr(row, n)) or low <= v <= high)
    ]
    wrong += ["date_obs"] * (not "2024-07-19" <= row.date_obs[:10] <= "2024-07-21")
    return wrong + ["reason"] * (bool(row.reason) != (row.status != "ok" or row.flags != 0))
