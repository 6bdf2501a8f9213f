"""What a pipeline adds to its sheets, beyond what every sheet does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from visql_lib.instruments.names import FrameName, NamePattern
from visql_lib.sheets.grouping import Grouping
from visql_lib.sheets.sheet import SheetRow


class SheetRules(Protocol):
    """The rules of one pipeline: how frames are grouped, and which rows its sheets have besides raw files."""

    @property
    def grouping(self) -> Grouping:
        """The kind of its groups, and where their sheets are."""

    def wanted(self, names: Sequence[str], today: datetime | None = None) -> list[str]:
        """Resolve the groups that the settings name, such as ``auto``, to keys, sorted."""

    def group_of_name(self, name: FrameName) -> str:
        """Return the group of a frame by its name, "" where that does not tell it."""

    def group_of_row(self, row: SheetRow) -> str:
        """Return the group of a frame by its row, for frames whose names do not tell it."""

    def has_products(self, results: Path, group: str, exposure: str) -> bool:
        """Say whether an exposure of a group has products, for which its row is kept without a raw file."""

    def rows_without_files(self, results: Path, group: str) -> Iterable[SheetRow]:
        """Yield rows of exposures of a group that are known from elsewhere than raw files."""

    def settle(
        self, rows: dict[str, SheetRow], names: NamePattern, rebuild: Callable[[str], SheetRow]
    ) -> None:
        """Change the rows of a group, by exposure, where one decides about others.

        Parameters
        ----------
        rows : dict
            The rows of a group, changed in place.
        names : NamePattern
            How raw files are named.
        rebuild : callable
            Returns the row of an exposure anew from its raw file.
        """
