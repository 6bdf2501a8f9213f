"""Where the products of VIS lie, below the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from visql_lib.errors import TableError

E = "exposures/{month}/{exposure}/{exposure}"  # and the product's ending
M = "months/{month}"
T = "timeline"

SHEET = "exposures/{month}.tsv"
TILE = "gaia/nside{nside}/{tile}.parquet"
GOES_DAY = "goes/goes_{day}.parquet"


@dataclass(frozen=True)
class MonthFiles:
    """The files of a month, found by the templates that the registry is written with.

    Parameters
    ----------
    results : Path
        Folder of the results.
    month : str
        YYYYMM.
    """

    results: Path
    month: str

    @classmethod
    def of_sheet(cls, sheet: Path) -> MonthFiles:
        """Find the results that an exposure sheet belongs to.

        Raises
        ------
        TableError
            If it is not where sheets are, so that nothing of its exposures would be found.
        """
        whole = sheet if len(sheet.parts) > 2 else sheet.absolute()
        found = cls(whole.parent.parent, sheet.stem)
        if found.sheet != whole:
            raise TableError(
                f"{sheet}: must be {SHEET.format(month='YYYYMM')} of a results folder, "
                "where the tables of its exposures are found"
            )
        return found

    @property
    def sheet(self) -> Path:
        """The exposure sheet."""
        return self.results / SHEET.format(month=self.month)

    def frame_file(self, exposure: str, ending: str) -> Path:
        """Compose the path of a product of an exposure, by its ending."""
        return self.results / f"{E.format(month=self.month, exposure=exposure)}{ending}"

    def table(self, kind: str) -> Path:
        """Compose the path of a table of the month."""
        return self.results / M.format(month=self.month) / f"{kind}_{self.month}.parquet"
