from datetime import datetime, timedelta

from toy_nights.registry import NIGHTS
from visql_lib.sheets.rules import SheetRules


class NightSheets(SheetRules):
    def group_of_row(self, row):
        return f"{datetime.fromisoformat(row.date_obs) - timedelta(hours=12):%Y%m%d}"


RULES = NightSheets(NIGHTS, "_level.parquet")
