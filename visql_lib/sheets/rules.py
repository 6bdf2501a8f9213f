"""What a pipeline adds to its sheets, beyond what every sheet does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

from visql_lib.config import Settings
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import FrameName, NamePattern
from visql_lib.sheets.grouping import Grouping
from visql_lib.sheets.sheet import SheetRow


class SheetRules(ABC):
    """The rules of one pipeline: how frames are grouped, and which rows its sheets have besides raw files.

    Parameters
    ----------
    grouping : Grouping
        The kind of its groups, and where their sheets are.
    first_ending : str
        The ending of a product whose presence keeps the row of an exposure whose raw file is gone.
    """

    def __init__(self, grouping: Grouping, first_ending: str) -> None:
        self.grouping, self.first_ending = grouping, first_ending

    def for_instrument(self, instrument: Instrument) -> Self:
        """Return the rules with what the camera's file adds to them, such as where its nights end."""
        return self

    def group_of_name(self, name: FrameName) -> str:
        """Return the group of a frame by its name, "" where that does not tell it."""
        return ""

    @abstractmethod
    def group_of_row(self, row: SheetRow) -> str:
        """Return the group of a frame by its row, for frames whose names do not tell it."""

    def has_products(self, results: Path, group: str, exposure: str) -> bool:
        """Say whether an exposure has products, for which its row is kept without a raw file."""
        return Path(self.grouping.stem(results, group, exposure) + self.first_ending).is_file()

    def rows_without_files(self, results: Path, group: str) -> Iterable[SheetRow]:
        """Yield rows of exposures of a group that are known from elsewhere than raw files."""
        return ()

    def settle(  # noqa: B027 - most pipelines have nothing to decide
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

    def refresh(
        self,
        settings: Settings,
        instrument: Instrument,
        groups: Sequence[str] | None,
        on_read: Callable[[], None] = lambda: None,
    ) -> dict[str, list[SheetRow]]:
        """Bring the sheets of groups up to date and return their rows; see `sheets.index.refresh_sheets`."""
        from visql_lib.sheets.index import refresh_sheets  # it needs these rules

        return refresh_sheets(settings, instrument, self, groups, on_read=on_read)
