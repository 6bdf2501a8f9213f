"""The exposure sheets of the reduction: nights, whose boundary the camera's file tells."""

from __future__ import annotations

from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.sheets.nights import NightSheets
from visql_lib.sheets.rules import SheetRules

RULES: SheetRules = NightSheets(NIGHTS, ".fits")  # a reduced light keeps the row of its raw frame
