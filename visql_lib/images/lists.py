"""Lists of files as users write them: names, globs, ranges of numbers, files of names, exclusions."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from visql_lib.errors import RequestError

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_COMMA = re.compile(r"(?<!\\),")
_NUMBERS = re.compile(r"(\d+)")
_MAGIC = re.compile(r"[*?[]")
_DEEPEST = 10  # lists that name lists


def expand(parts: Sequence[str], *, allow_empty: bool = False, folder: Path | None = None) -> list[Path]:
    """Expand a list of files.

    Parameters
    ----------
    parts : sequence of str
        Each is a name, a glob, a range ``b.{0041..0050}.fit``, ``@list.txt`` (a file with one such list
        per line) or ``!part`` (taken out again), or several of these separated by commas (``\\,`` is a
        comma). Parts count in their order; the names of one part are in natural order.
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
    found: dict[str, None] = {}
    for part in (text.strip() for word in parts for text in _COMMA.split(word)):
        if part:
            _add(part.replace("\\,", ","), found, base, allow_empty, 0)
    if not found and not allow_empty:
        raise RequestError(f"{', '.join(parts) or 'nothing'}: no files")
    return [base / name for name in found]


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts names with the numbers in them by value: 9 before 10."""
    words = _NUMBERS.split(name)
    return tuple((0, int(w), w) if w.isdecimal() else (1, 0, w) for w in words)


def _add(part: str, found: dict[str, None], base: Path, allow_empty: bool, depth: int) -> None:
    """Add the files of one part to those found so far, or take them out."""
    if part.startswith("!"):
        for name in _names(part[1:], base, allow_empty, depth):
            found.pop(name, None)
    else:
        found.update(dict.fromkeys(_names(part, base, allow_empty, depth)))


def _names(part: str, base: Path, allow_empty: bool, depth: int) -> list[str]:
    if part.startswith("@"):
        return _listed(part[1:], base, allow_empty, depth)
    names = _ranged(part)
    found = [name for pattern in names for name in _matching(pattern, base)]
    if not found and not allow_empty:
        raise RequestError(f"{part}: no such file; see --allow-empty")
    return list(dict.fromkeys(found))


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
    width = len(first) if first.startswith("0") or len(first) == len(last) else 0
    step = 1 if int(last) >= int(first) else -1
    numbers = (f"{n:0{width}d}" for n in range(int(first), int(last) + step, step))
    return [name for n in numbers for name in _ranged(part[: match.start()] + n + part[match.end() :])]


def _listed(name: str, base: Path, allow_empty: bool, depth: int) -> list[str]:
    """Read a list of names: one part a line; what follows # is a remark."""
    if depth > _DEEPEST:
        raise RequestError(f"@{name}: lists that name each other")
    try:
        lines = (base / name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"@{name}: cannot be read ({error})") from error
    found: dict[str, None] = {}
    for line in lines:
        if text := line.partition("#")[0].strip():
            _add(text, found, base, allow_empty, depth + 1)
    if not found and not allow_empty:
        raise RequestError(f"@{name}: names no file; see --allow-empty")
    return list(found)
