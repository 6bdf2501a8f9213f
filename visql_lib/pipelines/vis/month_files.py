"""The files of a month: where its sheet, the products of its exposures and its tables are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from visql_lib.pipelines.vis.grouping import MONTHS


@dataclass(frozen=True)
class MonthFiles:
    """The files of a month, by the templates of the registry.

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
        return cls(*MONTHS.locate(sheet))

    @property
    def sheet(self) -> Path:
        """The exposure sheet."""
        return MONTHS.sheet_path(self.results, self.month)

    def frame_file(self, exposure: str, ending: str) -> Path:
        """Compose the path of a product of an exposure, by its ending."""
        return Path(f"{MONTHS.stem(self.results, self.month, exposure)}{ending}")
