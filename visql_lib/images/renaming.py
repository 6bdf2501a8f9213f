"""Rename frames to one sequence in time, with a plan that leads back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from astropy.io import fits

from visql_lib.errors import RequestError
from visql_lib.images.headers import start_of, value_of
from visql_lib.images.lists import natural_key
from visql_lib.values import moment

_DIGITS = 4  # of a number, at least
_FITS = re.compile(r"\.(?:fits|fit|fts)$", re.IGNORECASE)
_PACKED = re.compile(r"\.(?:gz|fz)$", re.IGNORECASE)


class Move(NamedTuple):
    """A file, and where it is to go; both in one folder."""

    old: Path
    new: Path


def in_sequence(
    frames: Sequence[tuple[Path, fits.Header]], keys: Sequence[str] = ()
) -> tuple[list[tuple[Path, fits.Header]], list[Path]]:
    """Sort frames, by default in time; frames with equal keys stay in the order in which they are given.

    Parameters
    ----------
    frames : sequence of (path, header)
    keys : sequence of str, optional
        Keywords to sort by instead, the first one first. Numbers come before times, these before
        texts, which are in natural order.

    Returns
    -------
    sorted, last : list of (path, header), list of Path
        Those without the first key are last; they are also named.
    """
    places = [(_place(header, keys), i) for i, (_, header) in enumerate(frames)]
    order = sorted(range(len(frames)), key=lambda i: places[i])
    last = [frames[i][0] for i in order if places[i][0][0][0] == _NOWHERE[0]]
    return [frames[i] for i in order], last


_NOWHERE = (9, ())


def _place(header: fits.Header, keys: Sequence[str]) -> tuple[tuple[int, Any], ...]:
    if not keys:
        start = start_of(header)
        return ((1, start) if start is not None else _NOWHERE,)
    return tuple(_rank(value_of(header, key.upper())) for key in keys)


def _rank(value: Any) -> tuple[int, Any]:
    if value is None or value == "":
        return _NOWHERE
    if isinstance(value, str):
        time = moment(value)
        return (1, time) if time is not None else (2, natural_key(value))
    return (0, float(value)) if value == value else _NOWHERE


def date_of_earliest(frames: Sequence[tuple[Path, fits.Header]]) -> str:
    """Return the date (UTC) at which the earliest frame began, YYYYMMDD.

    Raises
    ------
    RequestError
        If no frame tells when it began.
    """
    starts = [start for _, header in frames if (start := start_of(header)) is not None]
    if not starts:
        raise RequestError(f"{frames[0][0]}: no frame tells when it began; give a root with -o")
    return min(starts).strftime("%Y%m%d")


def plan_moves(paths: Sequence[Path], root: str, tail: str = "") -> list[Move]:
    """Compose the names ``ROOT.0001.TAIL`` of a sequence; files that have theirs already are left out.

    Parameters
    ----------
    paths : sequence of Path
        In their order; each stays in its folder.
    root : str
        What the names begin with.
    tail : str, optional
        What they end with; default: the ending the file has. What a file is shall be seen from its
        name: ``.gz`` and ``.fz`` stay, and a tail that is no FITS ending comes before the file's own.

    Raises
    ------
    RequestError
        If root or tail cannot be part of a name, or another file has one of the names.
    """
    for option, text in (("-o", root), ("-t", tail)):
        if re.search(r"[/\\\0\n]", text) or (option == "-o" and (not text.strip() or text.startswith("."))):
            raise RequestError(f"{option} {text!r}: not a part of a name; files stay in their folder")
    digits = max(_DIGITS, len(str(len(paths))))
    names = (f"{root}.{n:0{digits}d}{_ending(path.name, tail)}" for n, path in enumerate(paths, 1))
    moves = [Move(path, path.with_name(name)) for path, name in zip(paths, names, strict=True)]
    moves = [move for move in moves if move.old.name != move.new.name]
    check_free(moves)
    return moves


def _ending(name: str, tail: str) -> str:
    packed = match[0] if (match := _PACKED.search(name)) else ""
    plain = Path(name.removesuffix(packed)).suffix if packed or Path(name).suffix else ""
    tail = _PACKED.sub("", tail.strip().removeprefix("."))
    if not tail:
        return plain + packed
    return f".{tail}{'' if _FITS.search('.' + tail) else plain}{packed}"


def check_free(moves: Sequence[Move]) -> None:
    """Check that no file would be lost: every new name is free, or becomes free.

    Raises
    ------
    RequestError
        Naming the first that is not.
    """
    leaving = {move.old for move in moves}
    taken = [move for move in moves if move.new not in leaving and _is_there(move.new)]
    if taken:
        more = f", and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise RequestError(
            f"{taken[0].new} is there already ({taken[0].old.name} would become it{more}); "
            "nothing is renamed; give another root with -o"
        )


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()  # also a link that leads nowhere
