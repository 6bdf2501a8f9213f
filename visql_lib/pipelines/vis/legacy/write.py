"""Writers of the text tables of the original system, with its columns and formats.

What the original could not say stays out of its tables: a star whose moments
are flagged is left out, and an exposure without stars is printed as R2 9.9 and
0.9999 elsewhere. Its score is the formula's value for these numbers.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.atomic import atomic_path
from visql_lib.instruments.facts import ScoreReference
from visql_lib.pipelines.vis.legacy.read import (
    MEDIANS,
    MOMENTS_COLUMNS,
    NO_STARS_OTHER,
    NO_STARS_R2,
    STARS_COLUMNS,
)
from visql_lib.psf.score import image_quality_score

CATALOGUE_COLUMNS = (
    *("EXT", "X_IMAGE", "Y_IMAGE", "X_WORLD", "Y_WORLD", "FLUX_AUTO", "FLUXERR_AUTO", "FLUX_RADIUS"),
    *("A_IMAGE", "B_IMAGE", "THETA_IMAGE", "FLAGS", "FIELDRAD"),
)
_CATALOGUE_ROW = "%s %.4f %.4f %.8f %.8f %.7g %.7g %.3f %.3f %.3f %.2f %d %.6g\n"
_STARS_ROW = "%.6g %.10e %.7g %.7g %.3f %.3f %.3f %.2f %d %d %.6g\n"
_MOMENTS_HEADER = (
    "# EXT       XWORLD       YWORLD       FLUX   FLUXERR  FLUXRAD   FIELDRAD      XIMAGE       YIMAGE     DX"
    "       DY       WTFLUX    R2       e1       e2       tr1      tr2      com1     com2    \n"
)
_MOMENTS_ROW = (
    " %-5s %12.6f %12.6f %10.6g %8.4g %8.3f %10.6f %12.4f %12.4f %8.4f %8.4f %10.6g" + 7 * " %8.5f" + "\n"
)
_PSFMOMENTS_HEADER = (
    f"#|   {'catalogue':<57} |      R2  |    COMA1 |  COMA 2 |    ELL 1 |   ELL 2 |   TREF 1 |  TREF 2 |\n"
)
_PSFMOMENTS_ROW = "| %-60s | %8.3f | %8.4f | %7.4f | %8.4f | %7.4f | %8.4f | %7.4f |\n"
_SCORE_TABLES = {  # ending of the name -> header, row
    "_score.txt": ("| image | R2 | e1 | e2 | score |\n", "| %s_  | %8.3f | %8.4f | %8.4f | %8.2f |\n"),
    "_score.csv": ("image , R2 , e1 , e2 , score \n", "%s_  , %8.3f , %8.4f , %8.4f , %8.2f\n"),
    "_le1_score.txt": (
        "| image | R2 | e1 | e2 | score | EASname |\n",
        "| %s_  | %8.3f | %8.4f | %8.4f | %8.2f | %s  | \n",
    ),
    "_le1_score.csv": (
        "image ; R2 ; e1 ; e2 ; score ; EASname \n",
        "%s_  ; %8.3f ; %8.4f ; %8.4f ; %8.2f ;  %s\n",
    ),
}

_CHUNK = 50_000  # rows formatted at a time: some ten MB of text
_GZIP_LEVEL = 4  # a third of the time of the default, 5 % more bytes


def write_stars2(path: Path, stars: Mapping[str, NDArray]) -> None:
    """Write ``E_stars2.cat`` from our stars table.

    NUMBER, the original's running number of a detection, is the row's number
    here, because our catalogue has no such column.
    """
    n = len(stars["X_WORLD"])
    columns = dict(stars) | {"NUMBER": np.arange(1, n + 1)}
    _write_lines(path, _formatted(_STARS_ROW, columns, STARS_COLUMNS))


def write_moments(path: Path, moments: Mapping[str, NDArray]) -> None:
    """Write ``E_stars2_mom.cat`` from our moments table; flagged stars are left out."""
    good = np.asarray(moments["FLAGS"]) == 0
    columns = {name: np.asarray(moments[name])[good] for name in MOMENTS_COLUMNS}
    _write_lines(path, [_MOMENTS_HEADER, *_formatted(_MOMENTS_ROW, columns, MOMENTS_COLUMNS)])


def write_catalogue(
    path: Path, catalogue: Mapping[str, NDArray], on_chunk: Callable[[], None] = lambda: None
) -> None:
    """Write ``E.cat.gz`` from our catalogue: one header line, then one line per detection.

    The same catalogue always gives the same bytes. `on_chunk` is called after
    each of the `chunks` of the catalogue.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as packed,
    ):
        packed.write(f"# {' '.join(CATALOGUE_COLUMNS)}\n".encode())
        for text in _formatted(_CATALOGUE_ROW, catalogue, CATALOGUE_COLUMNS):
            packed.write(text.encode())
            on_chunk()


def chunks(n_rows: int) -> int:
    """Choose the number of pieces of a table of `n_rows` for writing."""
    return -(-n_rows // _CHUNK)


def write_month(
    folder: Path, month: str, quality: Mapping[str, NDArray], reference: ScoreReference
) -> list[Path]:
    """Write the five tables of a month's image quality into `folder`.

    Parameters
    ----------
    folder : Path
        Where to.
    month : str
        YYYYMM.
    quality : mapping of arrays
        ``EXPOSURE``, ``ARCHIVE_NAME`` and the medians R2 [px^2], com1 com2 e1 e2 tr1 tr2.
    reference : ScoreReference
        Of the instrument. As in the original, scores are computed from the medians
        *as printed*, so that they can be checked with the table alone.

    Returns
    -------
    list of Path
        The files written.
    """
    exposures = [str(e) for e in quality["EXPOSURE"]]
    printed = {name: _as_printed(name, quality[name]) for name in MEDIANS}
    score = image_quality_score(
        printed["R2"],
        printed["e1"],
        printed["e2"],
        centre=(reference.R2, reference.e1, reference.e2),
        covariance=(reference.cov_R2_R2, reference.cov_R2_e1, reference.cov_e1_e1),
        var_e2=reference.var_e2,
    )
    medians = zip((f"{e}_stars2_mom.cat" for e in exposures), *(printed[n] for n in MEDIANS), strict=True)
    rows = list(zip(exposures, printed["R2"], printed["e1"], printed["e2"], score, strict=True))
    named = [(*row, str(name)) for row, name in zip(rows, quality["ARCHIVE_NAME"], strict=True)]
    stem = f"psfmoments_{month}"
    contents = {
        f"{stem}.txt": [_PSFMOMENTS_HEADER, *(_PSFMOMENTS_ROW % row for row in medians)],
    }
    for ending, (header, form) in _SCORE_TABLES.items():
        table = named if "le1" in ending else rows
        contents[stem + ending] = [header, *(form % row for row in table)]
    for name, lines in contents.items():
        _write_lines(folder / name, lines)
    return [folder / name for name in contents]


def _as_printed(name: str, values: NDArray) -> NDArray:
    """Round medians as the original printed them, its numbers for no stars instead of NaN."""
    decimals, missing = (3, NO_STARS_R2) if name == "R2" else (4, NO_STARS_OTHER)
    values = np.where(np.isnan(values), missing, values)
    # Through text: what is printed and what the score is made of are the same number.
    return np.array([float(f"{v:.{decimals}f}") for v in values.tolist()])


def _formatted(form: str, columns: Mapping[str, NDArray], names: Iterable[str]) -> Iterator[str]:
    """Yield the text of a table, some ten thousand lines at a time."""
    arrays = [np.asarray(columns[name]) for name in names]
    for first in range(0, len(arrays[0]), _CHUNK):
        chunk = [array[first : first + _CHUNK].tolist() for array in arrays]
        yield "".join(map(form.__mod__, zip(*chunk, strict=True)))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(lines)
