"""A corpus of broken raw frames: made when it is wanted, always the same for the same seed.

Every case is a file, or what stands in place of one, under a raw frame's name.
``python tests/corpus.py FOLDER [SEED]`` writes it for a look; `docs/faults.md` says more.
"""

from __future__ import annotations

import gzip
import os
import random
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import yaml
from astropy.io import fits

from visql_lib.frames import load_instrument
from visql_lib.frames.names import stem_of
from visql_lib.pipelines.vis.stages.simulate import make_frames
from visql_lib.simulate.plan import exposures_of

SEED = 20240713
FUZZED = 30  # cases of each kind of random damage
CARD, BLOCK = 80, 2880
TERA = 10**12

Put = Callable[[Path], None]  # makes the file, or whatever it is, under the given name


@dataclass(frozen=True)
class Case:
    """One broken file: what is wrong with it, how to make it, which statuses the sheet may give it."""

    what: str
    put: Put
    statuses: tuple[str, ...] = ("ok", "incomplete", "unreadable")
    suffix: str = ".fits"

    def name(self, number: int) -> str:
        """Return the raw frame's name of the case."""
        return (
            f"C_20240713_{number // 60 % 24:02d}{number % 60:02d}00_W_{number:08X}.VIS.bin_01_01{self.suffix}"
        )


UNREADABLE, OK, INCOMPLETE = ("unreadable",), ("ok",), ("incomplete",)


def seed() -> int:
    """Return the seed of the corpus: `SEED`, or what VISQL_CORPUS_SEED says."""
    return int(os.environ.get("VISQL_CORPUS_SEED", SEED))


def small_camera(path: Path) -> Path:
    """Write the facts of a camera of one CCD with quadrants of 96 x 80 pixels."""
    facts = yaml.safe_load((Path(__file__).parent / "toy_camera.yaml").read_text())
    sizes = {"quadrant_columns": 96, "quadrant_rows": 80, "serial_prescan": 8, "serial_overscan": 8}
    sizes |= {"parallel_overscan": 4, "ccd_rows": 1, "ccd_columns": 1}
    for name, value in sizes.items():
        facts["geometry"][name]["value"] = value
    facts["geometry"]["layouts"] = facts["geometry"]["layouts"][:1]
    facts["gain_models"]["toy"] = {k: v for k, v in facts["gain_models"]["toy"].items() if k[:3] == "1-1"}
    path.write_text(yaml.safe_dump(facts | {"name": "small_camera"}))
    return path


def good_frame(camera: Path, folder: Path) -> bytes:
    """Return a whole frame of the small camera, with sky, stars and cosmics."""
    plan = {
        "common": {"seed": 7, "sky": {"stars": 12.0}, "radiation": {"cosmics": 0.3}},
        "exposures": [{"type": "long", "date": "2024-07-13T00:00:00"}],
    }
    make_frames(exposures_of(plan, "corpus"), load_instrument(str(camera)), folder)
    return next(folder.glob("*.fits")).read_bytes()


def corpus(good: bytes, start: int, fuzzed: int = FUZZED) -> list[Case]:
    """Return all cases made from a good frame: those with a name, and `fuzzed` of each random kind."""
    cases = [*_sizes(good), *_headers(good), *_pixels(good), *_extensions(good), *_packed(good), *_no_files()]
    for kind, damage in _RANDOM.items():
        names = [f"{kind} {number}" for number in range(fuzzed)]
        cases += [Case(name, _bytes(_damaged, good, damage, f"{start} {name}")) for name in names]
    for kind, pack, suffix in (("gzip", _gzip, ".fits.gz"), ("tiles", tiles, ".fits.fz")):
        names = [f"{kind} {number}" for number in range(fuzzed // 2)]
        cases += [
            Case(
                n,
                _bytes(lambda n, pack: _damaged(pack(good), _flips, f"{start} {n}"), n, pack),
                suffix=suffix,
            )
            for n in names
        ]
    return cases


def _damaged(good: bytes, damage: Callable[[bytearray, random.Random], bytes], chance: str) -> bytes:
    return damage(bytearray(good), random.Random(chance))


def _bytes(content: bytes | Callable[..., bytes], *arguments: object) -> Put:
    """Put bytes, or what a function makes of its arguments when they are wanted."""

    def put(path: Path) -> None:
        path.write_bytes(content(*arguments) if callable(content) else content)

    return put


# --- random damage -------------------------------------------------------------------------------------------

_WORDS = [
    "T",
    "F",
    "0",
    "-1",
    "1",
    "7",
    "8",
    "16",
    "-32",
    "-64",
    "999999",
    "1e9",
    "9" * 18,
    "-" + "9" * 18,
    "NaN",
]
_WORDS += [
    "'text'",
    "'unended",
    "''",
    "",
    "(1.0, 2.0)",
    "1.5",
    "abc",
    "/ only a comment",
    "'2-2.X'",
    "\x00",
    "\xe4",
]
_KEYS = ["SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT", "EXTNAME"]
_KEYS += [
    "EXTEND",
    "BZERO",
    "BSCALE",
    "BLANK",
    "GROUPS",
    "TFIELDS",
    "DATE-OBS",
    "EXPTIME",
    "IMG_T1",
    "RA",
    "END",
]
_KEYS += ["CRPIX1", "CRVAL1", "CD1_1", "CONTINUE", "HIERARCH a b", "COMMENT", "ZIMAGE", "ZCMPTYPE", "INHERIT"]


def _cards(data: bytes | bytearray) -> list[int]:
    """Return where the cards of all headers of a good frame begin."""
    return _cards_of(bytes(data))


@cache
def _cards_of(data: bytes) -> list[int]:
    places = []
    with fits.open(BytesIO(data), lazy_load_hdus=False, do_not_scale_image_data=True) as hdus:
        for hdu in hdus:
            info = hdu.fileinfo()
            places += range(info["hdrLoc"], info["datLoc"], CARD)
    return places


def _fuzz_header(data: bytearray, chance: random.Random) -> bytes:
    """Overwrite some cards with keywords and values that make no sense together."""
    places = _cards(data)
    for _ in range(chance.randint(1, 4)):
        card = f"{chance.choice(_KEYS):8.8}= {chance.choice(_WORDS):>20}".encode("latin-1")
        at = chance.choice(places)
        data[at : at + CARD] = card.ljust(CARD)[:CARD]
    return bytes(data)


def _fuzz_values(data: bytearray, chance: random.Random) -> bytes:
    """Change the values of cards that the frame has."""
    places = [at for at in _cards(data) if bytes(data[at + 8 : at + 10]) == b"= "]
    for _ in range(chance.randint(1, 4)):
        at = chance.choice(places)
        data[at + 10 : at + CARD] = f"{chance.choice(_WORDS):>20}".encode("latin-1").ljust(CARD - 10)
    return bytes(data)


def _cut(data: bytearray, chance: random.Random) -> bytes:
    """Cut it short anywhere, now and then at the end of a block, or put zeros in place of what is missing."""
    at = chance.randrange(len(data))
    if chance.random() < 0.5:
        at = at // BLOCK * BLOCK
    filler = bytes(len(data) - at) if chance.random() < 0.3 else b""
    return bytes(data[:at]) + filler


def _flips(data: bytearray, chance: random.Random) -> bytes:
    """Turn some bits over, half of the time near the beginning."""
    for _ in range(chance.choice([1, 10, 100, 1000])):
        end = len(data) if chance.random() < 0.5 else min(len(data), 4 * BLOCK)
        data[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(data)


def _shuffle(data: bytearray, chance: random.Random) -> bytes:
    """Leave out, repeat or exchange blocks."""
    blocks = [bytes(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    for _ in range(chance.randint(1, 3)):
        what, at = chance.randrange(3), chance.randrange(len(blocks))
        other = chance.randrange(len(blocks))
        if what == 0:
            del blocks[at]
        elif what == 1:
            blocks.insert(other, blocks[at])
        else:
            blocks[at], blocks[other] = blocks[other], blocks[at]
    return b"".join(blocks)


_RANDOM = {"header": _fuzz_header, "value": _fuzz_values, "cut": _cut, "flips": _flips, "blocks": _shuffle}


# --- damage with a name --------------------------------------------------------------------------------------


_LAST = 96 * 80 * 2 % BLOCK  # bytes of the small camera's pixels in the last block of a quadrant


def _sizes(good: bytes) -> Iterator[Case]:
    yield Case("empty", _bytes(b""), UNREADABLE)
    yield Case("one byte", _bytes(b"S"), UNREADABLE)
    yield Case("a block of blanks", _bytes(lambda: b" " * BLOCK), UNREADABLE)
    yield Case("a block of NUL", _bytes(bytes(BLOCK)), UNREADABLE)
    yield Case("a block of 0xFF", _bytes(b"\xff" * BLOCK), UNREADABLE)
    yield Case("a text", _bytes(b"I am no frame.\n" * 192), UNREADABLE)
    yield Case("a page", _bytes(b"<html><body>Please log in</body></html>".ljust(BLOCK)), UNREADABLE)
    yield Case("a page of odd size", _bytes(b"<!DOCTYPE html><title>503</title>"), UNREADABLE)
    yield Case("one byte short", _bytes(lambda: good[:-1]), OK)  # of the padding
    yield Case("one block short", _bytes(lambda: good[:-BLOCK]), UNREADABLE)
    yield Case("one byte long", _bytes(lambda: good + b"\0"), OK)
    yield Case("a text behind", _bytes(lambda: good + b"the end"), OK)
    yield Case("no padding behind", _bytes(lambda: good[: len(good) - BLOCK + _LAST]), OK)
    yield Case("one pixel short", _bytes(lambda: good[: len(good) - BLOCK + _LAST - 2]), UNREADABLE)
    yield Case("capitals", _bytes(good), OK, ".FITS")
    yield Case("a short ending", _bytes(good), OK, ".fit")
    yield Case("a short ending, gzipped", _bytes(_gzip, good), OK, ".FIT.GZ")
    yield Case("a block of NUL behind", _bytes(lambda: good + bytes(BLOCK)), OK)
    yield Case("a block of text behind", _bytes(lambda: good + b"x" * BLOCK), OK)
    yield Case(
        "the primary header only", _bytes(lambda: good[: _cards(good)[0] + _primary(good)]), UNREADABLE
    )
    yield Case("half of the primary header", _bytes(lambda: good[:BLOCK]), UNREADABLE)
    yield Case("twice in one file", _bytes(lambda: good + good), OK)
    yield Case("byte order turned", _bytes(lambda: _swapped(good)), UNREADABLE)
    yield Case("a terabyte of nothing", _sparse(b"", TERA // BLOCK * BLOCK), UNREADABLE)
    yield Case("a terabyte behind", _sparse(good, TERA // BLOCK * BLOCK), OK)
    yield Case("a header without end", _bytes(lambda: good[:CARD] + b" " * (1200 * BLOCK - CARD)), UNREADABLE)
    yield Case("a terabyte of header", _sparse(good[:CARD], TERA // BLOCK * BLOCK), UNREADABLE)


def _primary(good: bytes) -> int:
    """Return the size of the primary header."""
    with fits.open(BytesIO(good)) as hdus:
        return int(hdus[0].fileinfo()["datLoc"])


def _swapped(data: bytes) -> bytes:
    return np.frombuffer(data, ">u2").astype("<u2").tobytes()


def _sparse(start: bytes, size: int) -> Put:
    def put(path: Path) -> None:
        with path.open("wb") as file:
            file.write(start)
            try:
                file.truncate(size)
            except OSError:  # more than this file system takes
                file.truncate(1 << 33)

    return put


def card(key: str, value: str) -> bytes:
    """Return a card of a header; `value` is as it stands in the file."""
    return f"{key:8}= {value:>20}".encode("latin-1").ljust(CARD)


def with_card(good: bytes, hdu: int, key: str, card: bytes) -> bytes:
    """Replace a card of one header; with a key the header has not, its last card before END."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what was put there before
        with fits.open(BytesIO(good), lazy_load_hdus=False, disable_image_compression=True) as hdus:
            info = hdus[hdu].fileinfo()
    cards = [good[at : at + CARD] for at in range(info["hdrLoc"], info["datLoc"], CARD)]
    names = [c[:8].decode("latin-1").strip() for c in cards]
    at = names.index(key) if key in names else names.index("END") - 1
    cards[at] = card
    return good[: info["hdrLoc"]] + b"".join(cards) + good[info["datLoc"] :]


_CLAIMS = [
    ("NAXIS1", "999999999999"),
    ("NAXIS2", "999999999999"),
    ("NAXIS2", "9223372036854775807"),
    ("NAXIS1", "99999999999999999999999"),
    ("NAXIS1", "-96"),
    ("NAXIS2", "0"),
    ("NAXIS1", "1.5"),
    ("NAXIS1", "'96'"),
    ("NAXIS", "999"),
    ("NAXIS", "1000000000"),
    ("NAXIS", "-1"),
    ("NAXIS", "0"),
    ("NAXIS", "1"),
    ("NAXIS", "3"),
    ("NAXIS", "T"),
    ("BITPIX", "64"),
    ("BITPIX", "8"),
    ("BITPIX", "-32"),
    ("BITPIX", "-64"),
    ("BITPIX", "0"),
    ("BITPIX", "17"),
    ("BITPIX", "'16'"),
    ("PCOUNT", "999999999999"),
    ("PCOUNT", "-5"),
    ("PCOUNT", "1"),
    ("GCOUNT", "0"),
    ("GCOUNT", "1000000000"),
    ("GCOUNT", "-1"),
    ("BZERO", "0"),
    ("BZERO", "32767"),
    ("BZERO", "1e300"),
    ("BZERO", "'32768'"),
    ("BZERO", "NaN"),
    ("BSCALE", "0"),
    ("BSCALE", "2.5"),
    ("BSCALE", "'x'"),
    ("XTENSION", "'BINTABLE'"),
    ("XTENSION", "'NONSENSE'"),
    ("XTENSION", "7"),
    ("EXTNAME", "''"),
    ("EXTNAME", "7"),
    ("EXTNAME", "'../../etc'"),
    ("EXTNAME", "'nobody'"),
]
_FACTS = [
    ("DATE-OBS", "'2204-07-13T01:00:00'"),
    ("DATE-OBS", "'2024-07-12T12:00:00'"),
    ("DATE-OBS", "'2024-07-13'"),
    ("DATE-OBS", "'13/07/24'"),
    ("EXPTIME", "1.0E30"),
    ("EXPTIME", "1.0E9"),
    ("EXPTIME", "0"),
    ("RA", "-9999"),
    ("RA", "'17:55:00.0'"),
    ("DEC", "-9999.0"),
    ("DEC", "'+65:18:00'"),
    ("PA", "-9999"),
    ("SAA", "-9999"),
    ("SAA", "'nan'"),
    ("ALPHA", "1.0E20"),
    ("DATE-OBS", "'yesterday'"),
    ("DATE-OBS", "'0001-01-01T00:00:00'"),
    ("DATE-OBS", "'9999-12-31T23:59:59+00:01'"),
    ("DATE-OBS", "'0001-01-01T00:00:00+23:59'"),
    ("DATE-OBS", "17"),
    ("EXPTIME", "'long'"),
    ("EXPTIME", "1e999"),
    ("EXPTIME", "-1"),
    ("EXPTIME", "NaN"),
    ("RA", "1e300"),
    ("RA", "T"),
    ("DEC", "(1.0, 2.0)"),
    ("IMG_T1", "3.5"),
    ("IMG_T1", "'a\tb'"),
    ("OBS_ID", "9" * 60),
    ("OBS_ID", "'<script>1</script>'"),
    ("EXTEND", "F"),
    ("NAXIS", "2"),
    ("BITPIX", "'x'"),
    ("GROUPS", "T"),
    ("SIMPLE", "F"),
    ("SIMPLE", "7"),
]
_RAW_CARDS = [
    ("no keyword", b" " * CARD),
    ("not ASCII", "DATE-OBS= 'Größe über alles ÿ'".encode("latin-1").ljust(CARD)),
    ("UTF-8", "OBJECT  = '★ 星 ★'".encode().ljust(CARD)),
    ("NUL", b"OBJECT  = 'a\0b'".ljust(CARD, b"\0")),
    ("line end", b"OBS_ID  = 'a\nb\rc'".ljust(CARD)),
    ("escape sequence", b"OBS_ID  = '\x1b[2J\x1b]0;x\x07'".ljust(CARD)),
    ("no equals sign", b"EXPTIME 560.52".ljust(CARD)),
    ("lower case", b"exptime =               560.52".ljust(CARD)),
    ("an early END", b"END".ljust(CARD)),
    ("HTML", b"<html>".ljust(CARD)),
]


def _headers(good: bytes) -> Iterator[Case]:
    for key, value in _CLAIMS:
        yield Case(f"{key} = {value}", _bytes(with_card, good, 2, key, card(key, value)))
    for key, value in _FACTS:
        yield Case(f"primary {key} = {value}", _bytes(with_card, good, 0, key, card(key, value)))
    for what, text in _RAW_CARDS:
        yield Case(f"card: {what}", _bytes(with_card, good, 0, "OBS_ID", text))
        yield Case(f"card of a quadrant: {what}", _bytes(with_card, good, 1, "CRPIX1", text))
    for value in ("NaN", "1,5", "'x", "1E400"):
        broken = with_card(good, 2, "CRVAL1", card("CRVAL1", value))
        yield Case(f"CRVAL1 = {value}", _bytes(broken), OK)
    for key, value in (("EXPTIME", "89.52"), ("DATE-OBS", "'2024-07-13T09:00:00'"), ("RA", "1.0")):
        yield Case(f"{key} twice", _bytes(with_card, good, 0, "OBS_ID", card(key, value)), OK)
    yield Case("EXTNAME twice", _bytes(with_card, good, 1, "BSCALE", card("EXTNAME", "'1-1.F'")))
    yield Case("sums that do not fit", _rewritten(good, _with_wrong_sums), OK)
    yield Case("END missing", _bytes(lambda: good.replace(b"END".ljust(CARD), b" " * CARD)), UNREADABLE)
    yield Case(
        "END missing in the first",
        _bytes(lambda: good.replace(b"END".ljust(CARD), b" " * CARD, 1)),
        UNREADABLE,
    )
    all_huge = good.replace(b"NAXIS2  =                   80", b"NAXIS2  =        9999999999999")
    yield Case("all quadrants want terabytes", _bytes(all_huge), UNREADABLE)


def _rewritten(good: bytes, change: Callable[[fits.HDUList], None]) -> Put:
    """Let astropy write what a change makes of the frame."""

    def content() -> bytes:
        with fits.open(BytesIO(good), lazy_load_hdus=False) as hdus:
            copy = fits.HDUList([hdu.copy() for hdu in hdus])
        change(copy)
        out = BytesIO()
        copy.writeto(out, output_verify="ignore")
        return out.getvalue()

    return _bytes(content)


def _with_wrong_sums(hdus: fits.HDUList) -> None:
    for hdu in hdus:
        hdu.header["CHECKSUM"], hdu.header["DATASUM"] = "hcHjjc9ghcEghc9g", "123456"


def _pixels(good: bytes) -> Iterator[Case]:
    def of_type(kind: str) -> Callable[[fits.HDUList], None]:
        def change(hdus: fits.HDUList) -> None:
            for n, hdu in enumerate(hdus[1:], 1):
                hdus[n] = fits.ImageHDU(hdu.data.astype(kind), name=hdu.name)

        return change

    for kind in ("uint8", "int8", "int16", "int32", "uint32", "int64", "uint64", "float32", "float64"):
        yield Case(f"pixels of {kind}", _rewritten(good, of_type(kind)), OK)

    def senseless(hdus: fits.HDUList) -> None:
        data = hdus[1].data.astype("float32")
        data[::2], data[1::4] = np.nan, np.inf
        hdus[1] = fits.ImageHDU(data, name=hdus[1].name)

    yield Case("NaN and inf", _rewritten(good, senseless), OK)
    for value in (0, 65535):

        def flat(hdus: fits.HDUList, value: int = value) -> None:
            for hdu in hdus[1:]:
                hdu.data[:] = value

        yield Case(f"all pixels {value}", _rewritten(good, flat), OK)

    def noise(hdus: fits.HDUList) -> None:
        chance = np.random.default_rng(SEED)
        for hdu in hdus[1:]:
            hdu.data[:] = chance.integers(0, 65536, hdu.data.shape)

    yield Case("pixels of pure noise", _rewritten(good, noise), OK)

    def half_dead(hdus: fits.HDUList) -> None:
        hdus[2].data[:40] = 0

    yield Case("half a quadrant dead", _rewritten(good, half_dead), OK)

    def noiseless(hdus: fits.HDUList) -> None:
        for hdu in hdus[1:]:
            hdu.data[:] = 1000
            hdu.data[20:70:16, 20:80:20] = 30000

    yield Case("bright pixels without noise", _rewritten(good, noiseless), OK)

    def checkers(hdus: fits.HDUList) -> None:
        for hdu in hdus[1:]:
            hdu.data[:] = 0
            hdu.data[::2, ::2] = 65535

    yield Case("a chessboard", _rewritten(good, checkers), OK)


def _extensions(good: bytes) -> Iterator[Case]:
    table = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=np.arange(5))], name="1-1.E")
    image = np.zeros((80, 96), np.uint16)
    changes: dict[str, tuple[Callable[[fits.HDUList], object], tuple[str, ...]]] = {
        "a table in place of a quadrant": (lambda h: h.__setitem__(1, table), OK),
        "a table besides": (lambda h: h.append(fits.BinTableHDU(table.data, name="NOTES")), OK),
        "an image of 0 dimensions": (lambda h: h.__setitem__(1, fits.ImageHDU(name="1-1.E")), OK),
        "an image of 1 dimension": (lambda h: h.__setitem__(1, fits.ImageHDU(image[0], name="1-1.E")), OK),
        "an image of 3 dimensions": (
            lambda h: h.__setitem__(1, fits.ImageHDU(np.zeros((3, 80, 96), np.uint16), name="1-1.E")),
            OK,
        ),
        "an image turned on its side": (lambda h: h.__setitem__(1, fits.ImageHDU(image.T, name="1-1.E")), OK),
        "pixels in the primary HDU": (lambda h: h.__setitem__(0, fits.PrimaryHDU(image, h[0].header)), OK),
        "a quadrant twice": (lambda h: h.append(h[1].copy()), UNREADABLE),
        "no EXTNAME": (lambda h: [hdu.header.remove("EXTNAME") for hdu in h[1:]], UNREADABLE),
        "all of one EXTNAME": (lambda h: [setattr(hdu, "name", "1-1.E") for hdu in h[1:]], UNREADABLE),
        "of another camera": (
            lambda h: [setattr(hdu, "name", f"9-{n}.X") for n, hdu in enumerate(h)],
            UNREADABLE,
        ),
        "one quadrant only": (lambda h: [h.pop() for _ in h[2:]], INCOMPLETE),
        "order turned": (lambda h: h.append(h.pop(1)), OK),
        "a thousand extensions": (lambda h: h.extend(fits.ImageHDU(name=f"N{n}") for n in range(1000)), OK),
        "group parameters": (
            lambda h: h[0].header.update(GROUPS=True, PCOUNT=3, GCOUNT=2),
            ("ok", "unreadable"),
        ),
        "no card but the needed ones": (lambda h: h.__setitem__(0, fits.PrimaryHDU()), OK),
    }
    for what, (change, statuses) in changes.items():
        yield Case(what, _rewritten(good, lambda h, change=change: change(h)), statuses)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def quadrants(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and pixels (uint16, native) of every quadrant of a frame, as astropy reads them."""
    with fits.open(BytesIO(good), lazy_load_hdus=False) as hdus:
        for hdu in hdus[1:]:
            yield hdu.name, hdu.data.astype(np.uint16).tobytes()


@cache
def tiles(good: bytes, kind: str = "RICE_1") -> bytes:
    out = BytesIO()
    with fits.open(BytesIO(good), lazy_load_hdus=False) as hdus:
        packed = [fits.CompImageHDU(h.data, h.header, h.name, compression_type=kind) for h in hdus[1:]]
        fits.HDUList([hdus[0].copy(), *packed]).writeto(out)
    return out.getvalue()


def _packed(good: bytes) -> Iterator[Case]:
    whole = _gzip(good)
    gz, fz = ".fits.gz", ".fits.fz"
    yield Case("gzip: good", _bytes(whole), OK, gz)
    for part in (1, 10, 18, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        yield Case(f"gzip: cut after {part}", _bytes(whole[:part]), UNREADABLE + OK, gz)
    yield Case("gzip: empty", _bytes(b""), UNREADABLE, gz)
    yield Case("gzip: of nothing", _bytes(_gzip(b"")), UNREADABLE, gz)
    yield Case("gzip: not packed", _bytes(good), UNREADABLE, gz)
    yield Case("gzip: a page", _bytes(b"<html>".ljust(BLOCK)), UNREADABLE, gz)
    yield Case("gzip: wrong checksum", _bytes(whole[:-8] + b"\0\0\0\0" + whole[-4:]), OK, gz)
    yield Case("gzip: wrong size", _bytes(whole[:-4] + bytes(4)), OK + UNREADABLE, gz)
    yield Case("gzip: a text behind", _bytes(whole + b"x" * BLOCK), OK + UNREADABLE, gz)
    members = _gzip(good[: len(good) // 3]) + _gzip(good[len(good) // 3 :])
    yield Case("gzip: several members", _bytes(members), OK, gz)
    yield Case("gzip: a few bytes behind", _bytes(whole + b"garbage"), OK, gz)
    yield Case("gzip: zeros behind", _bytes(whole + bytes(1000)), OK, gz)
    yield Case("gzip: no padding inside", _bytes(_gzip(good[: len(good) - BLOCK + _LAST])), OK, gz)
    yield Case("gzip: named plain", _bytes(whole), UNREADABLE)
    yield Case("gzip: named tiles", _bytes(whole), UNREADABLE, fz)
    yield Case("gzip: packed twice", _bytes(_gzip(whole)), UNREADABLE, gz)
    yield Case("gzip: of a cut frame", _bytes(_gzip(good[: len(good) // 2 // BLOCK * BLOCK])), OK, gz)
    yield Case("gzip: bomb behind a frame", _bomb(good, b"\0"), OK, gz)
    yield Case("gzip: bomb of a header", _bomb(good[:CARD], b" "), UNREADABLE, gz)
    huge = good.replace(b"NAXIS2  =                   80", b"NAXIS2  =          99999999999")
    yield Case("gzip: bomb in a quadrant", _bomb(huge, b"\0"), OK + UNREADABLE, gz)
    yield Case("gzip: plain frame named so", _bytes(good), UNREADABLE, gz)
    for kind in ("RICE_1", "GZIP_1", "HCOMPRESS_1"):
        yield Case(f"tiles: good, {kind}", _bytes(tiles, good, kind), OK, fz)
    packed = tiles(good)
    yield Case("tiles: cut", _bytes(packed[: len(packed) // 2 // BLOCK * BLOCK]), UNREADABLE, fz)
    named = with_card(packed, 1, "ZTENSION", card("EXTNAME", "'COMPRESSED_IMAGE'"))
    yield Case("tiles: EXTNAME twice", _bytes(named), OK, fz)
    wrong = with_card(packed, 2, "CRVAL1", card("CRVAL1", "NaN"))
    yield Case("tiles: CRVAL1 = NaN", _bytes(wrong), OK, fz)
    yield Case("tiles: not packed", _bytes(good), OK, fz)
    for key, value in (
        ("ZNAXIS1", "99999999"),
        ("ZNAXIS2", "99999999"),
        ("ZNAXIS2", "-3"),
        ("ZTILE1", "99999999"),
        ("ZTILE1", "0"),
        ("ZTILE2", "99999999"),
        ("ZCMPTYPE", "'NONSENSE'"),
        ("ZBITPIX", "-64"),
        ("ZBITPIX", "3"),
        ("ZIMAGE", "F"),
        ("TFORM1", "'1PB(999999999)'"),
        ("NAXIS2", "999999999"),
        ("PCOUNT", "999999999999"),
        ("THEAP", "999999999"),
    ):
        yield Case(f"tiles: {key} = {value}", _bytes(with_card, packed, 1, key, card(key, value)), suffix=fz)


def _bomb(start: bytes, filler: bytes, size: int = 6_000_000_000) -> Put:
    """Put a gzip file of a few MB that unpacks to some GB; whole blocks, so that its size does not tell."""

    def put(path: Path) -> None:
        rest = (size - len(start)) // BLOCK * BLOCK + (-len(start)) % BLOCK
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        piece = filler * (BLOCK << 12)
        # One stretch of filler is packed once and repeated: deflate allows full flushes between equal pieces.
        body = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = body.compress(piece) + body.flush(zlib.Z_FULL_FLUSH)
        head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
        total = len(start)
        with path.open("wb") as file:
            file.write(head)
            for _ in range(rest // len(piece)):
                file.write(packed)
                total += len(piece)
            total += (-total) % BLOCK
            file.write(b"\x03\x00" + bytes(4) + (total % (1 << 32) // BLOCK * BLOCK).to_bytes(4, "little"))

    return put


def _no_files() -> Iterator[Case]:
    yield Case("a folder", Path.mkdir, UNREADABLE)
    yield Case("a link to nothing", lambda path: path.symlink_to("nowhere.fits"), UNREADABLE)
    yield Case("a link to itself", lambda path: path.symlink_to(path.name), UNREADABLE)
    yield Case("a link to /dev/zero", lambda path: path.symlink_to("/dev/zero"), UNREADABLE)
    yield Case("a FIFO", os.mkfifo, UNREADABLE)
    yield Case("a gzipped FIFO", os.mkfifo, UNREADABLE, ".fits.gz")
    yield Case("a forbidden file", _forbidden, UNREADABLE)


def _forbidden(path: Path) -> None:
    """Put a file that nobody may read: root may, and finds that it is empty."""
    path.touch(0o000)


def write(folder: Path, cases: list[Case]) -> dict[str, Case]:
    """Put all cases into a folder; return them by exposure."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases):
        case.put(folder / case.name(number))
    return {stem_of(case.name(n)): case for n, case in enumerate(cases)}


if __name__ == "__main__":
    where = Path(sys.argv[1])
    where.mkdir(parents=True, exist_ok=True)
    frame = good_frame(small_camera(where / "small_camera.yaml"), where / "good")
    made = write(where / "raw", corpus(frame, int(sys.argv[2]) if len(sys.argv) > 2 else seed()))
    sys.stdout.write("".join(f"{stem}\t{case.what}\n" for stem, case in made.items()))
