"""The original's text tables of reference stars, astrometry and flux ratios, read and written.

What the original could not say stays out of its tables: stars without colour,
cells without ratios. Its table of CCDs and quadrants per month
(``visgaiacolour_*``) and of blocks per exposure (``vis-over-gaia-*-3x3_*``) are
written in the manner of its table per day.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import LegacyFormatError, NameFormatError, shorten
from visql_lib.flags import RatioFlag
from visql_lib.instruments.euclid_names import RawName
from visql_lib.instruments.model import Instrument
from visql_lib.photometry.aggregate import select
from visql_lib.photometry.ratios import QUOTED_COLOURS
from visql_lib.pipelines.vis.legacy.read import COLOUR_COLUMNS, _floats, _lines, _read_columns
from visql_lib.pipelines.vis.legacy.write import _formatted, _write_lines
from visql_lib.pipelines.vis.schemas.gaia import FRAT, RATIOS
from visql_lib.tables.schema import TableSchema

GAIA_STARS_COLUMNS = ("RAV", "DECV", "G", "Gerr", "R", "A", "B", "PA", "ID", "FLG", "BpRp")
FRAT_COLUMNS = (
    *("EXT", "XWORLD", "YWORLD", "FLUX", "TEXP", "G", "BpRp"),
    *("VFLUX", "GFLUX", "FRAT", "FRATMOD", "TEXPRATIO"),
)

_GAIA_STARS_ROW = "%r %r %.6f %r 1.0 1.0 1.0 1.0 %d 1.0 %.6f\n"
_SOLUTION_HEADER = (
    f"# {'cat1':<57} {'cat2':<57} keep   sigxy      dx        dy"
    "      ddx/dx     ddy/dx     ddx/dy     ddy/dy\n"
    f"#{'N     pix       pix       pix      -----------  pix/0.75 deg  ----------':>192}\n"
)
_SOLUTION_ROW = "%s %s %5d %7.3f %9.3f %9.3f %10.3f %10.3f %10.3f %10.3f\n"
_RATIO_HEADER = "# MOMENTS_CATALOGUE RATIONAME BpRp1 BpRp2 BpRp3 VoverG1 VoverG2 VoverG3 EXPTIME\n"
_RATIO_ROW = "%s %s %.2f %.2f %.2f %7.4f %7.4f %7.4f %9.2f\n"

# The original made its tables per star of E_stars2_mom.cat: numbers are rounded as in that.
_DIGITS = {
    **dict.fromkeys(("XWORLD", "YWORLD", "FIELDRAD", "G", "BpRp"), ".6f"),
    **dict.fromkeys(("XIMAGE", "YIMAGE", "DX", "DY"), ".4f"),
    **dict.fromkeys(("FLUX", "WTFLUX"), ".6g"),
    **dict.fromkeys(("R2", "e1", "e2", "tr1", "tr2", "com1", "com2"), ".5f"),
    **{"FLUXERR": ".4g", "FLUXRAD": ".3f"},
}

_MOMENTS_FILE = "_stars2_mom.cat"
_WHOLE = "VIS/GaiaBpRp"  # name of the ratio of the whole focal plane; of a part: its name and _PART
_PART = "VIS/Gaia"
_SUM = re.compile(r"C_ALL(\d{4})(\d\d)(\d\d)?_[a-z]+")


@dataclass(frozen=True)
class LegacySolution:
    """Astrometric solution of the original's method, as printed."""

    moments: str  # names of the two catalogues
    reference: str
    n_kept: int
    sigma: float  # px of 0.1 arcsec, as are the following
    dx: float  # at the centre
    dy: float
    ddx_dx: float  # px per 0.75 deg
    ddy_dx: float
    ddx_dy: float
    ddy_dy: float


@dataclass(frozen=True)
class RatioLine:
    """One line of flux ratios, as printed."""

    catalogue: str  # name of the table of moments
    name: str  # of the ratio
    colours: tuple[float, ...]  # mag
    ratios: tuple[float, ...]
    exptime: float  # s


def read_gaia_stars(path: Path) -> dict[str, NDArray]:
    """Read ``E_stars2_gaia.cat``: RAV, DECV [deg], G, G_ERR, BP_RP [mag], SOURCE_ID.

    Raises
    ------
    LegacyFormatError
        If the header or a line is not that of this table, or the file was cut short.
    """
    columns = _read_columns(path, GAIA_STARS_COLUMNS, header=True)
    names = {"RAV": "RAV", "DECV": "DECV", "G": "G", "G_ERR": "Gerr", "BP_RP": "BpRp"}
    # As text: numbers of Gaia are longer than what a double holds.
    place = GAIA_STARS_COLUMNS.index("ID")
    words = [line.split()[place] for _, line in list(_lines(path))[1:]]
    try:
        numbers = np.array([int(word) for word in words], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise LegacyFormatError(f"{path}: a value of ID is no number of a star in Gaia") from error
    return {ours: columns[theirs] for ours, theirs in names.items()} | {"SOURCE_ID": numbers}


def write_gaia_stars(path: Path, stars: Mapping[str, NDArray]) -> None:
    """Write ``E_stars2_gaia.cat`` from our table of reference stars; those without colour are left out."""
    names = ("RAV", "DECV", "G", "G_ERR", "SOURCE_ID", "BP_RP")
    coloured = np.isfinite(np.asarray(stars["BP_RP"], dtype=float))
    columns = {name: np.asarray(stars[name])[coloured] for name in names}
    header = f"# {' '.join(GAIA_STARS_COLUMNS)}\n"
    _write_lines(path, [header, *_formatted(_GAIA_STARS_ROW, columns, names)])


def read_solution(path: Path) -> tuple[LegacySolution, RatioLine | None]:
    """Read ``E_x_gaia_dxdy.txt``: the astrometric solution and, if there is one, the line of ratios.

    Raises
    ------
    LegacyFormatError
        If there is not one solution and at most one line of ratios.
    """
    solutions, ratios = [], []
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        words = line.split()
        if len(words) == 10:
            values = _floats(path, number, words[2:])
            if not values[0].is_integer():
                raise LegacyFormatError(f"{path}: line {number}: {values[0]} is no number of stars")
            solutions.append(LegacySolution(words[0], words[1], int(values[0]), *values[1:]))
        else:
            ratios.append(_ratio_line(path, number, words))
    if len(solutions) != 1 or len(ratios) > 1:
        found = f"{len(solutions)} and {len(ratios)}"
        raise LegacyFormatError(
            f"{path}: expected one solution and at most one line of ratios, found {found}"
        )
    return solutions[0], ratios[0] if ratios else None


def write_solution(path: Path, solution: LegacySolution, ratios: RatioLine | None = None) -> None:
    """Write ``E_x_gaia_dxdy.txt``."""
    s = solution
    values = (s.n_kept, s.sigma, s.dx, s.dy, s.ddx_dx, s.ddy_dx, s.ddx_dy, s.ddy_dy)
    lines = [_SOLUTION_HEADER, _SOLUTION_ROW % (s.moments, s.reference, *values)]
    _write_lines(path, lines + ([_text(ratios)] if ratios else []))


def read_frat(path: Path) -> dict[str, NDArray]:
    """Read ``E_frat.txt``: the columns of our table of flux ratios; what it does not hold is NaN or 0.

    Raises
    ------
    LegacyFormatError
        If the header or a line is not that of this table, or the file was cut short.
    """
    columns = _read_columns(path, FRAT_COLUMNS, header=True)
    return _completed(FRAT, columns, len(columns["EXT"]))


def write_frat(path: Path, frat: Mapping[str, NDArray]) -> None:
    """Write ``E_frat.txt`` from our table of flux ratios; stars without a ratio are left out."""
    good = np.isfinite(np.asarray(frat["FRAT"], dtype=float))
    _write_plain(path, FRAT_COLUMNS, {name: np.asarray(frat[name])[good] for name in FRAT_COLUMNS}, start="")


def write_moments_with_colours(path: Path, moments: Mapping[str, NDArray]) -> None:
    """Write ``E_stars2_mom_col.cat``; flagged stars and those without colour are left out."""
    good = np.asarray(moments["FLAGS"]) == 0 if "FLAGS" in moments else np.ones(len(moments["EXT"]), bool)
    good &= np.isfinite(np.asarray(moments["BpRp"], dtype=float))
    columns = {name: np.asarray(moments[name])[good] for name in COLOUR_COLUMNS}
    _write_plain(path, COLOUR_COLUMNS, columns, start="# ")


def read_ratio_lines(path: Path) -> list[RatioLine]:
    """Read ``vis-over-gaia-*.txt`` or ``visgaiacolour_*.txt``, with or without a header.

    Raises
    ------
    LegacyFormatError
        If a line is not that of these tables.
    """
    return [
        _ratio_line(path, number, line.split()) for number, line in _lines(path) if not line.startswith("#")
    ]


def write_ratio_lines(path: Path, lines: Iterable[RatioLine], *, header: bool) -> None:
    """Write lines of flux ratios; the original's tables of parts of the focal plane have a header."""
    _write_lines(path, [*([_RATIO_HEADER] if header else []), *(_text(line) for line in lines)])


def ratios_of_lines(
    path: Path, lines: Sequence[RatioLine], instrument: Instrument, selfcal: Collection[str] = ()
) -> dict[str, NDArray]:
    """Convert lines of flux ratios to rows of the table of ratios.

    Parameters
    ----------
    path : Path
        Where the lines come from, for messages.
    lines : sequence of RatioLine
        Of single exposures, days or months.
    instrument : Instrument
        Names the class of an exposure time.
    selfcal : collection of str, optional
        Exposures known to be in the self-calibration field; they get a second row.

    Returns
    -------
    dict of arrays
        Columns of `RATIOS`. Values missing in the lines are NaN; numbers of stars are 0.
        DATE is the exposure's start, or the middle of the day or month.

    Raises
    ------
    LegacyFormatError
        If a catalogue's or a ratio's name is not understood, or the ratios are quoted
        at other colours than ours.
    """
    rows = []
    for line in lines:
        if line.colours != QUOTED_COLOURS:
            raise LegacyFormatError(f"{path}: ratios at BP-RP {line.colours}, expected {QUOTED_COLOURS}")
        time, label, date = _time_of(path, line.catalogue)
        space, part = _space_of(path, line.name)
        row = (time, label, date, space, part, instrument.exposure_class(line.exptime), *line.ratios)
        rows.append((*row, "all"))
        if label in selfcal:
            rows.append((*row, "selfcal"))
    names = ("TIME", "TIME_BIN", "DATE", "SPACE", "SPACE_BIN", "CLASS", "R1", "R2", "R3", "FIELD")
    known = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    return _completed(RATIOS, known, len(rows))


def ratio_lines(ratios: Mapping[str, NDArray], exptimes: Mapping[str, float]) -> list[RatioLine]:
    """Convert rows of the table of ratios to lines of the original, in the order of the rows.

    Parameters
    ----------
    ratios : mapping of arrays
        Columns of `RATIOS`. Cells without ratios and hexagons are left out.
    exptimes : mapping
        Exposure time [s] of each class.
    """
    lines = []
    names = ("TIME", "TIME_BIN", "SPACE", "SPACE_BIN", "CLASS", "R1", "R2", "R3")
    for time, label, space, part, cls, *values in zip(*(ratios[n].tolist() for n in names), strict=True):
        if space == "hexagon" or not np.isfinite(values).all():
            continue
        stem = label if time == "exposure" else f"C_ALL{label.replace('-', '')}_{cls}"
        name = {"fpa": _WHOLE, "ccd": f"CCD{part.replace('-', '')}{_PART}"}.get(space, f"{part}{_PART}")
        lines.append(RatioLine(stem + _MOMENTS_FILE, name, QUOTED_COLOURS, tuple(values), exptimes[cls]))
    return lines


def write_month_of_ratios(
    folder: Path, month: str, ratios: Mapping[str, NDArray], exptimes: Mapping[str, float]
) -> list[Path]:
    """Write a month's tables per exposure and per day into `folder`.

    Parameters
    ----------
    folder : Path
        Where to.
    month : str
        YYYYMM.
    ratios : mapping of arrays
        Columns of `RATIOS`; cells of other months are left out, and exposures that are
        not accepted.
    exptimes : mapping
        Exposure time [s] of each class.

    Returns
    -------
    list of Path
        The files written; a class or day without ratios has none.
    """
    written = []

    def write(name: str, parts: Sequence[Mapping[str, NDArray]], header: bool) -> None:
        lines = [line for part in parts for line in ratio_lines(part, exptimes)]
        if lines:
            write_ratio_lines(folder / name, lines, header=header)
            written.append(folder / name)

    here = (np.asarray(ratios["FLAGS"]) & RatioFlag.NOT_ACCEPTED) == 0
    here &= np.asarray(ratios["DATE"]).astype("datetime64[M]") == np.datetime64(f"{month[:4]}-{month[4:]}")
    everywhere = select({name: np.asarray(ratios[name])[here] for name in ratios}, field="all")
    for cls in exptimes:
        single = select(everywhere, time="exposure", cls=cls)
        write(f"vis-over-gaia-{month}_{cls}.txt", [select(single, space="fpa")], header=False)
        write(f"vis-over-gaia-{month}-3x3_{cls}.txt", [select(single, space="block")], header=True)
        daily = select(everywhere, time="day", cls=cls)
        for day in sorted(set(daily["TIME_BIN"].tolist())):
            cells = select(daily, time_bin=day)
            parts = [select(cells, space=space) for space in ("block", "ccd", "quadrant")]
            write(f"vis-over-gaia-{day.replace('-', '')}-ccd_{cls}.txt", parts, header=True)
    return written


def write_colour_fits(
    folder: Path, month: str, sheet: Mapping[str, NDArray], exptimes: Mapping[str, float]
) -> list[Path]:
    """Write ``visgaiacolour_{LONG,SHORT}_YYYYMM.txt``: colour fits of CCDs and quadrants of a month.

    `sheet` holds the month's cells, gathered by the rule of the sheet. See `write_month_of_ratios`.
    """
    written = []
    for cls in exptimes:
        cells = select(sheet, time="month", cls=cls, field="all")
        lines = [
            line
            for space in ("ccd", "quadrant")
            for line in ratio_lines(select(cells, space=space), exptimes)
        ]
        if lines:
            written.append(folder / f"visgaiacolour_{cls.upper()}_{month}.txt")
            write_ratio_lines(written[-1], lines, header=True)
    return written


def _ratio_line(path: Path, number: int, words: list[str]) -> RatioLine:
    if len(words) != 9 or _PART not in words[1]:
        raise LegacyFormatError(f"{path}: line {number}: expected catalogue, ratio's name and seven numbers")
    values = _floats(path, number, words[2:])
    return RatioLine(words[0], words[1], tuple(values[:3]), tuple(values[3:6]), values[6])


def _text(line: RatioLine) -> str:
    return _RATIO_ROW % (line.catalogue, line.name, *line.colours, *line.ratios, line.exptime)


def _time_of(path: Path, catalogue: str) -> tuple[str, str, np.datetime64]:
    """Derive kind and name of the bin of time of a catalogue's name, and its middle."""
    stem = catalogue.removesuffix(_MOMENTS_FILE)
    try:
        if match := _SUM.fullmatch(stem):
            label = "-".join(part for part in match.groups() if part)
            unit: Literal["D", "M"] = "D" if match[3] else "M"
            first, last = (np.datetime64(label, unit) + step for step in (0, 1))
            first, last = first.astype("datetime64[us]"), last.astype("datetime64[us]")
            return "day" if match[3] else "month", label, first + (last - first) / 2
        name = RawName.parse(stem)
        return "exposure", name.stem, np.datetime64(name.start.replace(tzinfo=None), "us")
    except (NameFormatError, ValueError) as error:
        raise LegacyFormatError(
            f"{path}: {shorten(catalogue)} is no table of moments of an exposure, day or month"
        ) from error


def _space_of(path: Path, name: str) -> tuple[str, str]:
    """Derive kind and name of the bin of space of a ratio's name."""
    if name == _WHOLE:
        return "fpa", "fpa"
    part = name.removesuffix(_PART)
    if match := re.fullmatch(r"CCD(\d)(\d)", part):
        return "ccd", f"{match[1]}-{match[2]}"
    if re.fullmatch(r"\d{4}", part):
        return "block", part
    if re.fullmatch(r"\d-\d\.[A-Z]", part):
        return "quadrant", part
    raise LegacyFormatError(f"{path}: {shorten(name)} is no part of the focal plane")


def _completed(schema: TableSchema, columns: Mapping[str, Any], n: int) -> dict[str, NDArray]:
    """Complete the columns of a schema: those missing are NaN, or 0 where they hold whole numbers."""
    missing = [c for c in schema.columns if c.name not in columns]
    unknown = {c.name: np.full(n, np.nan if c.dtype.startswith("float") else 0) for c in missing}
    return schema.cast({**columns, **unknown})


def _write_plain(path: Path, names: Sequence[str], columns: Mapping[str, NDArray], start: str) -> None:
    """Write columns separated by one blank, rounded, and then with as many digits as they need."""
    columns = dict(columns)
    for name in set(names) & set(_DIGITS):
        columns[name] = np.array([float(f"{v:{_DIGITS[name]}}") for v in columns[name].tolist()])
    form = " ".join("%s" if name == "EXT" else "%r" for name in names) + "\n"
    _write_lines(path, [f"{start}{' '.join(names)}\n", *_formatted(form, columns, names)])
