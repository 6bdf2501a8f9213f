"""Lists of files as users write them: names, globs, ranges of numbers, files of names, exclusions."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from visql_lib.errors import RequestError

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_COMMA = re.compile(r"(?<!\\),")
_NUMBERS = re.compile(r"(\d+)")
_MAGIC = re.compile(r"[*?[]")
_REMARK = re.compile(r"(?:^|\s)#.*")
_DEEPEST = 10  # lists that name lists
_LONGEST = 1_000_000  # numbers of a range


def expand(parts: Sequence[str], *, allow_empty: bool = False, folder: Path | None = None) -> list[Path]:
    """Expand a list of files.

    Parameters
    ----------
    parts : sequence of str
        Each is a name, a glob, a range ``b.{0041..0050}.fit`` (numbers that are not there are passed
        over), ``@list.txt`` (a file with one such part per line; commas in it are just commas) or
        ``!part`` (taken out again), or several of these separated by commas (``\\,`` is a comma). A word
        that is the name of a file is that file. Parts count in their order; the names of one part are
        in natural order.
    allow_empty : bool, optional
        Whether a part may match nothing.
    folder : Path, optional
        What relative names are relative to; default the current folder.

    Returns
    -------
    list of Path
        Each file once, where it is named first.

    Raises
    ------
    RequestError
        If a part matches nothing, or a list of names cannot be read.
    """
    base = folder or Path()
    found: dict[str, str] = {}
    for word in parts:
        if (base / word).is_file():  # as a shell expands a glob: commas and marks belong to the name
            found.setdefault(_place(word, base), word)
            continue
        for part in (text.strip() for text in _COMMA.split(word)):
            if part:
                _add(part.replace("\\,", ","), found, base, allow_empty, 0)
    if not found and not allow_empty:
        raise RequestError(f"{', '.join(parts) or 'nothing'}: no files")
    return [base / name for name in found.values()]


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts names with the numbers in them by value: 9 before 10."""
    words = _NUMBERS.split(name)
    return tuple((0, int(w), w) if w.isdecimal() else (1, 0, w) for w in words)


def _place(name: str, base: Path) -> str:
    """Return what tells whether two names mean one place: ``./a`` and ``a`` do; links are not followed."""
    return os.path.abspath(base / name)  # noqa: PTH100


def _add(part: str, found: dict[str, str], base: Path, allow_empty: bool, depth: int) -> None:
    """Add the files of one part to those found so far, by place, or take them out."""
    if part.startswith("!"):
        for name in _names(part[1:].strip(), base, allow_empty, depth):
            found.pop(_place(name, base), None)
    else:
        for name in _names(part, base, allow_empty, depth):
            found.setdefault(_place(name, base), name)


def _names(part: str, base: Path, allow_empty: bool, depth: int) -> list[str]:
    """List the names one part means, in its order."""
    if part.startswith("@"):
        return _listed(part[1:], base, allow_empty, depth)
    names = [part] if (base / part).is_file() else _ranged(part)
    found = [name for pattern in names for name in _matching(pattern, base)]
    if not found and not allow_empty:
        raise RequestError(f"{part}: no such file; correct the name, or give --allow-empty")
    return found


def _matching(pattern: str, base: Path) -> list[str]:
    """List what a name or glob matches; a file whose name looks like a glob is meant by its name."""
    if (base / pattern).is_file():
        return [pattern]
    if not _MAGIC.search(pattern):
        return []
    matches = glob.glob(pattern, root_dir=base)  # noqa: PTH207 - patterns may be absolute
    return sorted((name for name in matches if (base / name).is_file()), key=natural_key)


def _ranged(part: str) -> list[str]:
    """Expand the first range of numbers of a part, and those after it; widths and directions are kept."""
    match = _RANGE.search(part)
    if match is None:
        return [part]
    first, last = match.groups()
    if abs(int(last) - int(first)) >= _LONGEST:
        raise RequestError(f"{part}: a range of more than {_LONGEST} numbers")
    width = len(first) if first.startswith("0") or len(first) == len(last) else 0
    step = 1 if int(last) >= int(first) else -1
    numbers = (f"{n:0{width}d}" for n in range(int(first), int(last) + step, step))
    return [name for n in numbers for name in _ranged(part[: match.start()] + n + part[match.end() :])]


def _listed(name: str, base: Path, allow_empty: bool, depth: int) -> list[str]:
    """Read a list of names: one part a line; a remark begins with # at the beginning or after a blank."""
    if depth > _DEEPEST:
        raise RequestError(f"@{name}: lists that name each other")
    try:
        lines = (base / name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"@{name}: cannot be read ({error})") from error
    found: dict[str, str] = {}
    for line in lines:
        if text := _REMARK.sub("", line).strip():
            _add(text, found, base, allow_empty, depth + 1)
    if not found and not allow_empty:
        raise RequestError(f"@{name}: names no file; see --allow-empty")
    return list(found.values())
