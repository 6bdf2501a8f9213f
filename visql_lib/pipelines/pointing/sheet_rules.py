"""The sheets of the pipeline `pointing`: those of nights."""

from __future__ import annotations

from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.sheets.nights import NightSheets

RULES = NightSheets(NIGHTS, "-summary.fits")
