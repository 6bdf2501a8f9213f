"""Tables that a command is given in any order, told apart by the beginnings of their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visql_lib.errors import RequestError


def kind_of(path: Path) -> str:
    """Return the kind of a table of a set or target, such as ``frames`` of ``frames_R_ecam.parquet``."""
    return path.stem.partition("_")[0]


def given_tables(
    paths: Sequence[Path], needed: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Path]:
    """Sort the tables of a set by their kinds.

    Parameters
    ----------
    paths : sequence of Path
        As the workflow names them, such as ``stars_R_ecam.parquet`` or ``reference.parquet``.
    needed, optional : sequence of str
        Kinds that must be there, and that may be.

    Returns
    -------
    dict
        Kind -> path.

    Raises
    ------
    RequestError
        If a kind is lacking, there twice, or none that is wanted.
    """
    found: dict[str, Path] = {}
    wanted = (*needed, *optional)
    for path in paths:
        kind = kind_of(path)
        if kind not in wanted:
            raise RequestError(f"{path}: not one of the tables {', '.join(wanted)} (NAME_SET.parquet)")
        if kind in found:
            raise RequestError(f"{path}: a second table {kind}, besides {found[kind]}")
        found[kind] = path
    if lacking := [kind for kind in needed if kind not in found]:
        raise RequestError(f"give the table {lacking[0]}_SET.parquet, too")
    return found
