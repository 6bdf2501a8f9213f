"""The FITS products of a frame: summary, streaks, thumbnail and detrended frame; written and read here only.

Their primaries hold the raw frame's cards as they are, and a few of our own. Files are written under a
temporary name and renamed, and carry the record of how they were made.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from visql_lib import __version__, run_record
from visql_lib.atomic import atomic_path
from visql_lib.ccd.detrend import block_means
from visql_lib.errors import TableError
from visql_lib.images.headers import read_header
from visql_lib.images.masters import plain
from visql_lib.images.writing import write_hdus
from visql_lib.pipelines.pointing.schemas import SKY, STREAKS, ZEROPOINTS, catalog_schema
from visql_lib.pipelines.pointing.versions import VERSIONS
from visql_lib.tables.fits import of_schema, read_fits_tables, table_bytes
from visql_lib.tables.provenance import append_to_fits
from visql_lib.values import number

if TYPE_CHECKING:
    from visql_lib.pipelines.pointing.frame import GuideFrame
    from visql_lib.pipelines.pointing.measure import MeasuredFrame
    from visql_lib.sources.streaks import Streaks

CELL = 8  # px, side of the blocks of a thumbnail
KEY = "VISQLKEY"
_STAGES = {"exposure": VERSIONS["exposure"]}
_CARD, _BLOCK = 80, 2880  # bytes
_HEAD = 20 * _BLOCK  # bytes at most that are searched for the key
# What tells how pixels were stored in the raw file, and is wrong or in the way elsewhere.
_STRUCTURAL = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|TFIELDS|END|BZERO|BSCALE|BLANK|DATAMIN|DATAMAX"
    r"|CHECKSUM|DATASUM|EXTNAME|EXTVER|EXTLEVEL|INHERIT|(TTYPE|TFORM|TUNIT|TDIM|ZNAXIS|ZTILE|ZNAME|ZVAL)\d+"
    r"|ZIMAGE|ZTENSION|ZCMPTYPE|ZBITPIX|ZQUANTIZ|ZDITHER0|ZBLANK|ZSCALE|ZZERO|ZPCOUNT|ZGCOUNT|ZSIMPLE|ZEXTEND"
    r"|ZHECKSUM|ZDATASUM|ZBLOCKED|ZMASKCMP|THEAP"
)
_WCS = re.compile(
    r"WCSAXES|WCSNAME|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC|PV)\d_\d+|LONPOLE|LATPOLE|RADESYS"
    r"|EQUINOX|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)"
)
_TOLERANCE = 16  # a thumbnail's numbers are rounded to the noise of its pixels over that


@dataclass(frozen=True)
class FrameSummary:
    """What the summary of a frame holds.

    Attributes
    ----------
    header : fits.Header
        The raw frame's cards, and ours.
    catalog, zeropoints, sky : dict
        Columns of the schemas CATALOG, ZEROPOINTS and SKY.
    key : str
        Digest of what the frame was measured from and with.
    status, reason : str
        What became of the frame: see `status.GuideStatus`.
    """

    header: fits.Header
    catalog: dict[str, NDArray]
    zeropoints: dict[str, NDArray]
    sky: dict[str, NDArray]
    key: str
    status: str = ""
    reason: str = ""


def write_summary(
    path: Path,
    frame: GuideFrame,
    measured: MeasuredFrame,
    *,
    key: str,
    status: str = "",
    reason: str = "",
    inputs: Iterable[Path] = (),
) -> None:
    """Write the summary of a frame: raw cards, CATALOG, ZEROPOINTS and SKY.

    Parameters
    ----------
    path : Path
    frame : GuideFrame
    measured : MeasuredFrame
        Its columns; the number of apertures is that of ``flux_adu``.
    key : str
        Digest of what the frame was measured from and with.
    status, reason : str, optional
        What became of the frame, and what is doubtful.
    inputs : iterable of Path, optional
        What it was made from, besides what the current run has read.

    Raises
    ------
    TableError
        If a column is missing or of another length.
    """
    n_apertures = int(np.shape(measured.catalog["flux_adu"])[1])
    header = _primary(
        frame,
        {
            "DOMEFLAG": (_has_dome(measured), "the dome stands in the way"),
            "NIGHT": (frame.night, "YYYYMMDD of the evening"),
            "STATUS": (status, "what became of the frame"),
            "REASON": (plain(reason), None),
            "WCSCTYPE": (frame.wcs.ctype, "projection of the WCS that was used"),
            KEY: (key, None),
        },
    )
    tables = (
        table_bytes(measured.catalog, catalog_schema(n_apertures), "CATALOG"),
        table_bytes(measured.zeropoints, ZEROPOINTS, "ZEROPOINTS"),
        table_bytes(measured.sky, SKY, "SKY"),
    )
    _write(path, header, tables, inputs)


def read_summary(path: Path) -> FrameSummary:
    """Read the summary of a frame.

    Raises
    ------
    TableError
        If it cannot be read, is damaged, or is no summary.
    """
    found = read_fits_tables(path, "CATALOG", "ZEROPOINTS", "SKY")
    catalog = found.tables["CATALOG"]
    n_apertures = sum(name.startswith("aper_sum_bkgsub_") for name in catalog)
    if not n_apertures:
        raise TableError(f"{path}: has no column aper_sum_bkgsub_0: it is no summary; make it again")
    return FrameSummary(
        found.header,
        of_schema(catalog, catalog_schema(n_apertures), path),
        of_schema(found.tables["ZEROPOINTS"], ZEROPOINTS, path),
        of_schema(found.tables["SKY"], SKY, path),
        *(str(found.header.get(name, "")) for name in (KEY, "STATUS", "REASON")),
    )


def read_key(path: Path) -> str:
    """Look up the key of a summary in its first bytes; "" where there is no summary, or it has none."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return ""
    for at in range(0, len(head) - _CARD + 1, _CARD):
        card = head[at : at + _CARD]
        if card.startswith(KEY.encode()):
            return str(fits.Card.fromstring(card).value)
        if card.startswith(b"END     "):
            break
    return ""


@dataclass(frozen=True)
class FrameStreaks:
    """The streaks of a frame as its file holds them.

    Attributes
    ----------
    columns : dict
        Of the schema STREAKS.
    timed_out : bool
        Whether the search ended at its time limit.
    key : str
        That of the summary that it was made for.
    """

    columns: dict[str, NDArray]
    timed_out: bool
    key: str

    @property
    def count(self) -> int:
        """How many streaks there are."""
        return len(self.columns["X1"])


def write_streaks(
    path: Path, frame: GuideFrame, streaks: Streaks, *, key: str = "", inputs: Iterable[Path] = ()
) -> None:
    """Write the streaks of a frame, with RA and Dec of their ends; without any a table of zero rows.

    Parameters
    ----------
    path : Path
    frame : GuideFrame
        Its WCS gives the places on the sky.
    streaks : Streaks
    key : str, optional
        That of the summary.
    inputs : iterable of Path, optional
        See `write_summary`.
    """
    columns: dict[str, Any] = dict(streaks.columns)
    for end in (1, 2):
        x, y = (np.asarray(columns[f"{axis}{end}"], dtype=np.float64) for axis in "XY")
        columns[f"RA{end}"], columns[f"DEC{end}"] = frame.wcs.to_sky(x, y) if x.size else (x, y)
    columns["TIMED_OUT"] = np.full(len(columns["X1"]), streaks.timed_out)
    cards = {
        "NIGHT": (frame.night, "YYYYMMDD of the evening"),
        "NSTREAKS": (len(columns["X1"]), "streaks"),
        "TIMEDOUT": (bool(streaks.timed_out), "the search ended at its time limit"),
        KEY: (key, None),
    }
    _write(path, _primary(frame, cards), (table_bytes(columns, STREAKS, "STREAKS"),), inputs)


def read_streaks(path: Path) -> FrameStreaks:
    """Read the streaks of a frame.

    Raises
    ------
    TableError
        If the file cannot be read, is damaged, or holds no table of streaks.
    """
    found = read_fits_tables(path, "STREAKS")
    columns = of_schema(found.tables["STREAKS"], STREAKS, path)
    header = found.header
    return FrameStreaks(columns, bool(header.get("TIMEDOUT", False)), str(header.get(KEY, "")))


def write_detrended(
    path: Path, frame: GuideFrame, measured: MeasuredFrame, *, inputs: Iterable[Path] = ()
) -> None:
    """Write the detrended frame [adu], bad pixels filled: raw cards, DOMEFLAG, and the WCS that was used.

    Raises
    ------
    FrameError
        If the file of the WCS cannot be read any more.
    """
    header = _primary(frame, {"DOMEFLAG": (_has_dome(measured), "the dome stands in the way")})
    if frame.wcs_file is not None:
        _replace_wcs(header, frame.wcs_file)
    header["BUNIT"] = ("adu", "unit of the pixels")
    image = np.asarray(measured.image, dtype=np.float32)
    write_hdus(path, fits.HDUList([fits.PrimaryHDU(image, header)]), _STAGES, inputs)


def write_thumbnail(
    path: Path, frame: GuideFrame, measured: MeasuredFrame, *, inputs: Iterable[Path] = ()
) -> None:
    """Write means of 8 x 8 px of the detrended frame [adu/s], float32, with EXPTIME, MJD and DOMEFLAG.

    It is packed: rounded to a sixteenth of its noise, which adds 2 % of it, it has a quarter of the size.
    """
    header = fits.Header()
    _set(header, "EXPTIME", frame.exptime, "[s] exposure time")
    _set(header, "MJD", frame.mjd, "[d] start, UTC")
    _set(header, "DOMEFLAG", _has_dome(measured), "the dome stands in the way")
    _set(header, "BUNIT", "adu/s", "unit of the pixels")
    _set(header, "CELL", CELL, "[px] side of the blocks, of which these are the means")
    pixels = block_means(measured.image, CELL) / np.float32(frame.exptime)
    packed = fits.CompImageHDU(
        pixels, header, name="THUMBNAIL", compression_type="RICE_1", quantize_level=_TOLERANCE
    )
    write_hdus(path, fits.HDUList([fits.PrimaryHDU(), packed]), _STAGES, inputs)


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a frame: means of blocks [adu/s]; exposure time [s]; MJD (UTC; NaN: not known)."""

    pixels: NDArray[np.float32]
    exptime: float
    mjd: float
    dome: bool


def read_thumbnail(path: Path) -> Thumbnail:
    """Read a thumbnail.

    Raises
    ------
    TableError
        If it cannot be read, is damaged, or is no thumbnail.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*truncated.*")
            with fits.open(path, memmap=False) as hdus:
                hdu = next((h for h in hdus if h.is_image and len(h.shape) == 2 and h.size), None)
                if hdu is None:
                    raise KeyError("no picture in it")
                header, pixels = hdu.header, np.array(hdu.data, dtype=np.float32)
    except (OSError, ValueError, TypeError, KeyError, IndexError, fits.VerifyError, AstropyWarning) as error:
        why = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
        raise TableError(f"{path}: cannot be read as a thumbnail ({why}); make it again") from error
    run_record.current().read(path, "")
    time, mjd = (number(header.get(name)) for name in ("EXPTIME", "MJD"))
    return Thumbnail(pixels, time, mjd, bool(header.get("DOMEFLAG", False)))


def _has_dome(measured: MeasuredFrame) -> bool:
    return bool(measured.sky["has_dome"][0])


def _primary(frame: GuideFrame, cards: Mapping[str, tuple[Any, str | None]]) -> fits.Header:
    """Return the raw frame's cards without those of its pixels' storage, and ours behind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # cards of other people
        images = [_image_of(card) for card in frame.cards.cards]
        kept = [image for image in images if not _STRUCTURAL.fullmatch(image[:8].rstrip())]
        header = fits.Header.fromstring("".join(kept))
        for name, (value, comment) in cards.items():
            _set(header, name, value, comment)
        _set(header, "VISQLVER", __version__, "version of VISQL")
    return header


def _image_of(card: fits.Card) -> str:
    """Return a card as it stands in the file, in ASCII; "" of empty ones, which are room."""
    try:
        image = str(card)
    except ValueError:  # letters beyond ASCII, which no header may have
        image = str(fits.Card("COMMENT", f"{card.keyword}: its value is not in ASCII and is not kept"))
    return image if image.strip() else ""


def _set(header: fits.Header, name: str, value: Any, comment: str | None) -> None:
    """Set a card; for what is not known (NaN, "") there is none."""
    if value == "" or (isinstance(value, float) and not math.isfinite(value)):
        header.remove(name, ignore_missing=True)
        return
    header[name] = (value, comment)


def _replace_wcs(header: fits.Header, path: Path) -> None:
    """Put the cards of a WCS in the place of those that the header has."""
    cards = read_header(path).cards
    for name in [name for name in header if _WCS.fullmatch(name)]:
        header.remove(name, ignore_missing=True, remove_all=True)
    for card in cards:
        if _WCS.fullmatch(card.keyword):
            header.append(card, end=True)


def _write(path: Path, header: fits.Header, tables: Iterable[bytes], inputs: Iterable[Path]) -> None:
    """Write a primary without pixels, and tables behind it."""
    head = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # cards of other people, kept as they are
        primary = fits.PrimaryHDU(header=header)
        primary.header.set("EXTEND", True, "there are extensions", after="NAXIS")
        primary.writeto(head, output_verify="silentfix+ignore")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join((head.getvalue(), *tables)))
        append_to_fits(temporary, path, _STAGES, inputs)
