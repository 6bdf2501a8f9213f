"""Names of results: a root takes the place of what stands before the number of a frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from visql_lib.errors import OutputExistsError, RequestError

ENDINGS = tuple(f".{end}{packed}" for end in ("fits", "fit", "fts") for packed in ("", ".gz", ".fz"))
_PACKED = re.compile(r"\.[gf]z$", re.IGNORECASE)


def is_fits_name(name: str) -> bool:
    """Say whether a name ends like a FITS file, in upper or lower case."""
    return name.lower().endswith(ENDINGS)


def output_name(root: str, source: Path) -> str:
    """Compose the name of what is made of a frame: the root takes the place of all before its number.

    The number is the last part between dots that has digits alone, but not the first part: ``bsub`` of
    ``20210227.0041.fit`` gives ``bsub.0041.fit``. Of a name without a number: ``bsub.`` and that name.
    Results are not packed: a last ``.gz`` or ``.fz`` is left off.
    """
    parts = _PACKED.sub("", source.name).split(".")
    numbers = [i for i, part in enumerate(parts) if i and part.isdecimal()]
    return ".".join([root, *(parts[numbers[-1] :] if numbers else parts)])


def output_paths(root: str, sources: Sequence[Path], folder: Path | None = None) -> list[Path]:
    """Compose the paths of the results of some frames: in the current folder, or that of the root.

    Raises
    ------
    RequestError
        If two frames would have one result, a whole name is given for several frames, or it is
        that of a packed file.
    """
    name = Path(root).name
    where = folder if folder is not None else Path(root).parent
    if is_fits_name(name):
        if len(sources) > 1:
            raise RequestError(f"-o {root}: one file for {len(sources)} results; give a root without ending")
        if _PACKED.search(name):
            raise RequestError(
                f"-o {root}: results are written as they are, not packed; leave off the ending"
            )
        return [where / name]
    found: dict[Path, Path] = {}
    paths = []
    for source in sources:
        path = where / output_name(name, source)
        if (other := found.get(path)) is not None:
            raise RequestError(f"{other} and {source} would both become {path}; give another root")
        found[path] = source
        paths.append(path)
    return paths


def refuse_existing(paths: Sequence[Path], overwrite: bool) -> None:
    """Check that nothing would be overwritten unless that is wanted.

    Raises
    ------
    OutputExistsError
        Naming the first file that is there.
    """
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OutputExistsError(f"{there[0]}{more}: already there; give --overwrite, or another name")
