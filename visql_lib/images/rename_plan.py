"""Carry out renamings, and take them back: a plan on disk tells at any moment where each file is.

Every file goes by way of a hidden name, so that names can be exchanged. The state in the
plan says which way the files are going; with it, a run that was killed can be taken back, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

from visql_lib import __version__, run_record
from visql_lib.atomic import atomic_path
from visql_lib.errors import RequestError, TableError, VisqlError
from visql_lib.images.renaming import Move, check_free

_NAMES = "rename.*.json"
_LEAVING, _ARRIVING, _DONE = "leaving", "arriving", "renamed"
_GOING_BACK, _COMING_BACK, _UNDONE = "going back", "coming back", "undone"
_STATES = (_LEAVING, _ARRIVING, _DONE, _GOING_BACK, _COMING_BACK, _UNDONE)


class RenamePlan:
    """The moves of one renaming, in a file ``rename.NNNN.json`` in the folder that holds all of them.

    Attributes
    ----------
    path : Path
        The file.
    moves : list of Move
    state : str
        Where the files are.
    """

    def __init__(self, path: Path, moves: Sequence[Move], state: str, made: str) -> None:
        self.path, self.moves, self.state, self.made = path, list(moves), state, made

    @classmethod
    def new(cls, moves: Sequence[Move]) -> Self:
        """Write the plan of a renaming under a number of its own: plans of earlier ones stay.

        Raises
        ------
        RequestError
            If an earlier renaming in that folder was interrupted: its files have hidden names.
        """
        places = [Move(*(Path(os.path.abspath(p)) for p in move)) for move in moves]  # noqa: PTH100
        folder = Path(os.path.commonpath([move.old.parent for move in places]))
        for _, earlier in _numbered(folder):
            if earlier.stat().st_size and cls.read(earlier).state not in (_DONE, _UNDONE):
                raise RequestError(
                    f"{earlier}: this renaming was interrupted; take it back first, with --undo"
                )
        if hidden := [_hidden(move) for move in places if _hidden(move).exists()]:
            raise RequestError(f"{hidden[0]}: left by a renaming that was interrupted; see what it is")
        number = max((n for n, _ in _numbered(folder)), default=0) + 1
        while True:
            path = folder / f"rename.{number:04d}.json"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                number += 1
                continue
            plan = cls(path, places, _LEAVING, run_record.now())
            plan._save(_LEAVING)
            return plan

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a plan.

        Raises
        ------
        TableError
            If it is none.
        """
        path = Path(os.path.abspath(path))  # noqa: PTH100
        try:
            entry: Any = json.loads(path.read_text(encoding="utf-8"))
            names = [(str(old), str(new)) for old, new in entry["moves"]]
            state, made = str(entry["state"]), str(entry["made"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise TableError(f"{path}: no plan of visql rename ({error})") from error
        outside = [n for pair in names for n in pair if n.startswith("/") or ".." in PurePosixPath(n).parts]
        if outside or state not in _STATES:
            raise TableError(f"{path}: no plan of visql rename ({(outside or [state])[0]!r})")
        return cls(path, [Move(path.parent / old, path.parent / new) for old, new in names], state, made)

    def _save(self, state: str) -> None:
        self.state = state
        folder = self.path.parent
        entry = {
            "visql": __version__,
            "made": self.made,
            "state": state,
            "moves": [[p.relative_to(folder).as_posix() for p in move] for move in self.moves],
        }
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")

    def carry_out(self) -> None:
        """Rename the files; if one cannot be, all get their old names back.

        Raises
        ------
        VisqlError
            If a file cannot be renamed.
        """
        try:
            for move in self.moves:
                move.old.rename(_hidden(move))
            self._save(_ARRIVING)
            for move in self.moves:
                _hidden(move).rename(move.new)
            self._save(_DONE)
        except OSError as error:
            self.undo(check=False)
            raise VisqlError(
                f"{error.filename}: cannot be renamed ({error.strerror}); all is as it was"
            ) from error

    def undo(self, *, check: bool = True) -> list[Path]:
        """Give all files their old names back, also after a run that was killed.

        Returns
        -------
        list of Path
            Files that are not there any more, under their new names.

        Raises
        ------
        RequestError
            If the plan is undone already, a later one must be undone first, or an old name is taken.
        """
        if check:
            self._check()
        missing = []
        if self.state not in (_LEAVING, _COMING_BACK):
            self._save(_GOING_BACK)
            for move in self.moves:
                if _hidden(move).exists():
                    continue
                if move.new.exists() or move.new.is_symlink():
                    move.new.rename(_hidden(move))
                else:
                    missing.append(move.new)
        self._save(_COMING_BACK)
        taken = [m for m in self.moves if _hidden(m).exists() and m.old.exists()]
        if taken:
            raise RequestError(f"{taken[0].old} is there already; move it away and undo {self.path} again")
        for move in self.moves:
            if _hidden(move).exists() or _hidden(move).is_symlink():
                _hidden(move).rename(move.old)
        self._save(_UNDONE)
        return missing

    def _check(self) -> None:
        if self.state == _UNDONE:
            raise RequestError(f"{self.path}: is undone already")
        mine = {path for move in self.moves for path in move}
        for number, path in _numbered(self.path.parent):
            if number <= (_number_of(self.path) or 0) or not path.stat().st_size:
                continue  # an empty one: killed before anything was renamed
            later = RenamePlan.read(path)
            if later.state != _UNDONE and mine & {p for move in later.moves for p in move}:
                raise RequestError(f"{self.path}: the files were renamed again; undo {path} first")
        if self.state == _DONE:
            check_free([Move(move.new, move.old) for move in self.moves])


def _hidden(move: Move) -> Path:
    return move.new.with_name(f".{move.new.name}.renaming")


def _number_of(path: Path) -> int | None:
    word = path.name.split(".")[1] if path.name.count(".") == 2 else ""
    return int(word) if word.isascii() and word.isdecimal() else None


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """List the plans in a folder with their numbers, the last one first."""
    found = [(n, path) for path in folder.glob(_NAMES) if (n := _number_of(path)) is not None]
    return sorted(found, reverse=True)
