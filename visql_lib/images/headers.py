"""Headers of FITS images: read without the pixels, and changed without touching them."""

from __future__ import annotations

import gzip
import io
import os
import warnings
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from visql_lib.atomic import atomic_path
from visql_lib.errors import FrameError
from visql_lib.frames.fits_parts import BLOCK, PartError, parts_in
from visql_lib.images.image import ERR, MASK, USED
from visql_lib.tables.provenance import NoRecordError, read_record, rewrite_fits_record

if TYPE_CHECKING:
    from visql_lib.instruments.model import Instrument

_COMMENTARY = ("COMMENT", "HISTORY", "")
_GZIP = b"\x1f\x8b"
_CARD = 80  # bytes
_OURS = (ERR, MASK, USED)


def read_header(path: Path) -> fits.Header:
    """Read the header of an image: of the first extension that holds one, with the cards of the primary.

    Parameters
    ----------
    path : Path
        Plain, gzipped or tile-compressed; the pixels are not read, and may be cut short.

    Returns
    -------
    fits.Header
        Of the primary alone where the file holds no image.

    Raises
    ------
    FrameError
        If it is no FITS file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # cut data and odd cards: headers are all we want
            with fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
                header: fits.Header = hdus[0].header.copy()
                found = next((h for h in hdus if _holds_image(h)), None)
                if found is None or found is hdus[0]:
                    return header
                return _joined(found.header.copy(), header)
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError) as error:
        raise FrameError(f"{path}: its header cannot be read ({error})") from error


def _holds_image(hdu: Any) -> bool:
    axes = hdu.header.get("NAXIS", 0)
    return hdu.is_image and axes >= 2 and hdu.name not in _OURS and all(hdu.shape)


def _joined(header: fits.Header, primary: fits.Header) -> fits.Header:
    """Return the cards of an extension, and those of the primary that it does not have."""
    own = {card.keyword for card in header.cards}
    for card in primary.cards:
        if card.keyword not in own and card.keyword not in ("SIMPLE", "EXTEND"):
            header.append(card, end=True)
    return header


def set_cards(path: Path, cards: Mapping[str, tuple[Any, str]]) -> None:
    """Put cards into the header of an image; all other bytes of the file stay as they are.

    Parameters
    ----------
    path : Path
        Written under a temporary name and renamed; a link stays one. Gzip files stay such. CHECKSUM
        of the header is removed, as it would be wrong; DATASUM stays. The record of a product is kept.
    cards : mapping
        Keyword to value and comment; a value None is written as one that is not known.

    Raises
    ------
    FrameError
        If it is no FITS file, holds no image, or may not be written.
    """
    path = path.resolve()
    if not os.access(path, os.W_OK):
        raise FrameError(f"{path}: may not be written; its header is not changed")
    content = path.read_bytes()
    packed = content.startswith(_GZIP)
    try:
        plain = gzip.decompress(content) if packed else content
        changed = _with_cards(plain, cards)
    except (PartError, OSError, EOFError, ValueError) as error:
        raise FrameError(f"{path}: its header cannot be changed ({error})") from error
    try:
        record = None if packed else read_record(path)
    except NoRecordError:
        record = None
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(changed, mtime=0) if packed else changed)
        if record is not None:
            rewrite_fits_record(temporary, record)


def _with_cards(content: bytes, cards: Mapping[str, tuple[Any, str]]) -> bytes:
    """Return a FITS file with cards in the header of its first image."""
    place = 0
    for part in parts_in(io.BytesIO(content), len(content)):
        if len(part.shape) >= 2 and all(part.shape) and part.name not in _OURS:
            text = _replaced(part.cards, {n: _card(n, *c) for n, c in cards.items()})
            return content[:place] + text + content[place + len(part.cards) :]
        place = part.end
    raise PartError("it holds no image")


def _card(name: str, value: Any, comment: str) -> bytes:
    return str(fits.Card(name, value, comment)).encode("ascii")


def _replaced(header: bytes, cards: Mapping[str, bytes]) -> bytes:
    """Return a header with some cards in the place of those of their names, new ones at the end."""
    left, kept = dict(cards), []
    for at in range(0, len(header), _CARD):
        card = header[at : at + _CARD]
        name = card[:8].decode("latin-1").rstrip()
        if name == "END":
            break
        if name not in cards and name != "CHECKSUM":
            kept.append(card)
        elif name in left:
            kept.append(left.pop(name))
    while kept and not kept[-1].strip():  # room for cards to come
        kept.pop()
    text = b"".join([*kept, *left.values(), b"END".ljust(_CARD)])
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


def value_of(header: fits.Header, key: str) -> Any:
    """Return a value of a header, None where there is none; commentary cards as one line."""
    try:
        value = header.get(key)
    except fits.VerifyError:  # a card that cannot be read
        return None
    if value is None or isinstance(value, fits.card.Undefined):
        return None
    if key in _COMMENTARY:
        return " | ".join(line for line in (str(v).strip() for v in value) if line)
    if isinstance(value, str):
        return " ".join(value.split())
    return value if isinstance(value, bool | int | float) else str(value)


def keywords_of(header: fits.Header) -> list[str]:
    """List the keywords of a header in their order, each once; commentary cards without text are none."""
    names = dict.fromkeys(header.keys())
    return [name for name in names if name not in _COMMENTARY or value_of(header, name)]


def start_of(header: fits.Header) -> datetime | None:
    """Return when an exposure began (UTC) as far as a usual header tells; None where it does not.

    Date and time of day may stand apart, the date may have an offset from UTC or be a day number:
    see the header map of ``generic_ccd``. Dates that cannot be, such as those to come, are none.
    """
    from visql_lib.frames.header import ExposureHeader

    camera = _usual_camera()
    where = camera.header.date
    keys = (*where.keywords, *where.time, *where.mjd, *where.jd)
    cards = {key: value for key in keys if (value := value_of(header, key)) is not None}
    return ExposureHeader.from_cards(cards, camera, None).start


@cache
def _usual_camera() -> Instrument:
    from visql_lib.instruments.model import load_instrument

    return load_instrument("generic_ccd")
