"""A log of headers: which keywords of many files, one row per file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits

from visql_lib.errors import RequestError
from visql_lib.images.headers import keywords_of, start_of, value_of
from visql_lib.images.listing import Listing, Value

FILENAME, PATH, START, ALL = "Filename", "Path", "Start", "All"
_OWN = {name.lower(): name for name in (FILENAME, START, ALL)}
_NAMELESS = "BLANKCARDS"  # column of commentary cards without a keyword


@dataclass(frozen=True)
class Key:
    """A column: its name, and the keywords tried one after the other."""

    name: str
    keywords: tuple[str, ...]


def parse_keys(text: str) -> list[Key]:
    """Read a list of columns, separated by commas.

    Parameters
    ----------
    text : str
        Each column is a keyword; ``NAME=KEY`` or ``NAME=KEY|KEY``: another name (alias), of the first
        keyword that has a value; ``Filename``; ``Start``: begin of the exposure [UTC], see
        `visql_lib.images.headers.start_of`; ``Path``; ``All``: every keyword of every file. Capitals do
        not matter, except in ``Path``, which is a keyword otherwise.

    Raises
    ------
    RequestError
        If it names nothing, or an alias no keyword.
    """
    found: dict[str, Key] = {}
    for word in (part.strip() for part in text.split(",")):
        if not word:
            continue
        own = PATH if word == PATH else _OWN.get(word.lower())
        name, equals, keys = word.partition("=")
        keywords = tuple(k.strip().upper() for k in (keys if equals else name).split("|") if k.strip())
        if not keywords or not name.strip():
            raise RequestError(f"-k {word!r}: write NAME=KEY or NAME=KEY|KEY")
        key = Key(own, ()) if own else Key(name.strip() if equals else name.upper(), keywords)
        found.setdefault(key.name, key)
    if not found:
        raise RequestError("-k: names no keyword")
    return list(found.values())


def make_log(frames: Sequence[tuple[Path, fits.Header]], keys: Sequence[Key]) -> Listing:
    """Tabulate headers: one row per file, all with the same columns.

    Parameters
    ----------
    frames : sequence of (path, header)
        In the order of the rows.
    keys : sequence of Key
        See `parse_keys`. ``All`` becomes ``Filename`` and the keywords of all headers, in the order in
        which they are met first.
    """
    columns: dict[str, Key] = {}
    for key in keys:
        more = _all_keys(frames) if key.name == ALL else [key]
        columns |= {k.name: k for k in more if k.name not in columns}
    rows = [[_value(path, header, key) for key in columns.values()] for path, header in frames]
    return Listing(list(columns), rows)


def _all_keys(frames: Sequence[tuple[Path, fits.Header]]) -> list[Key]:
    names = dict.fromkeys(name for _, header in frames for name in keywords_of(header))
    return [Key(FILENAME, ()), *(Key(name or _NAMELESS, (name,)) for name in names)]


def _value(path: Path, header: fits.Header, key: Key) -> Value:
    if key.name == FILENAME:
        return path.name
    if key.name == PATH and not key.keywords:
        return str(path)
    if key.name == START and not key.keywords:
        start = start_of(header)
        return None if start is None else start.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    values = (value_of(header, word) for word in key.keywords)
    found: Value = next((v for v in values if v is not None and v != ""), None)
    if found is None and any(value_of(header, word) == "" for word in key.keywords):
        return ""  # said, but empty
    return found
