"""The Sun's X-ray flux of one day, downloaded into the store."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from visql_lib.archives.errors import ArchiveError
from visql_lib.archives.goes import FAILED, failed_day, fetch_day
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.stores.download import Download
from visql_lib.stores.goes import goes_folder, is_current, write_day

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GoesDayInputs:
    """A day (UTC), and its table in the store."""

    day: date
    table: Path


def run(context: Context[VisSettings], inputs: GoesDayInputs) -> Download | None:
    """Download a day into its table; None if the table needs no download.

    Raises
    ------
    ArchiveError
        If the download fails and the run does not record failures.
    """
    settings, day = context.settings, inputs.day
    if is_current(inputs.table, day, settings.goes):
        log.info("%s: exists already", inputs.table)
        return None
    failure: dict[str, Any] = {}
    with context.failures(failure):
        answer = fetch_day(day, settings.goes, goes_folder(settings.results), settings.network.proxy)
        if answer.state == FAILED:
            raise ArchiveError(f"{day}: {answer.reason}")
    if failure:
        answer = failed_day(str(failure["failed"]).removeprefix(f"{day}: "))
    return Download(write_day(inputs.table, day, answer, settings.goes), answer.reason)
