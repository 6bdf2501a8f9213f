"""Rows of raw files: kept where a file is unchanged, else made from its header."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from visql_lib.config import IndexSettings, Settings
from visql_lib.config.load import digest
from visql_lib.config.units import unfit_path
from visql_lib.errors import FrameError
from visql_lib.frames.header import ExposureHeader
from visql_lib.frames.names import file_kind_problem, stem_of
from visql_lib.instruments.model import Instrument
from visql_lib.sheets.sheet import (
    FROM_HEADER,
    GROWING,
    INCOMPLETE,
    KNOWN_BAD,
    OK,
    PRODUCT,
    SUPERSEDED,
    UNREADABLE,
    SheetRow,
    empty_row,
)

log = logging.getLogger(__name__)

_NAMED = 8  # missing quadrants
_INSPECTED = (OK, INCOMPLETE, UNREADABLE, SUPERSEDED, PRODUCT)  # whose headers were read
_LONGEST_NAME = 200  # bytes; names of products are longer, and 255 are the most
_READING = 4  # raised when headers are read in another way, so that they are all read again


@dataclass(frozen=True)
class RowBuilder:
    """Builds the rows of raw files as they are now."""

    settings: Settings
    instrument: Instrument
    now: float  # seconds since 1970
    on_read: Callable[[], None]  # called for every file whose header is read

    @cached_property
    def context(self) -> str:
        """A digest of what decides how a header is read."""
        names = {"geometry", "frame_types", "earliest_date", "exposure_time_ranges", "header", "amplifiers"}
        names |= {"bits", "longest_bias"}
        facts = self.instrument.model_dump(mode="json", include=names)
        index = self.settings.index
        return digest(
            facts, {"detectors": index.detectors, "late": index.date_after_name, "reading": _READING}
        )

    def row(self, file: Path, state: os.stat_result, known: SheetRow | None) -> SheetRow:
        """Build the row of one raw file; where the file did not change that is the known one."""
        stem = stem_of(file.name)
        bad = stem in self.settings.known_bad
        if known is not None and not bad and known.status in _INSPECTED:
            seen = (str(file), state.st_size, state.st_mtime_ns, self.context)
            if (known.file, known.size, known.mtime, known.context) == seen:
                return known
        start = self.instrument.names.parse(stem).start
        blank = replace(_blank(stem, file, state, start), context=self.context)
        if bad:
            return replace(blank, status=KNOWN_BAD, reason="listed in known_bad")
        if reason := _obstacle(file, state):
            return replace(blank, status=UNREADABLE, reason=reason)
        if abs(self.now - state.st_mtime) < self.settings.index.growing_age:  # clocks differ a little
            return replace(blank, status=GROWING, reason="changed a moment ago; left for later")
        self.on_read()
        row = _inspect(blank, file, self.settings.index, self.instrument)
        if row.status == UNREADABLE and known is not None and known.frame_type != "UNKNOWN":
            # What is known of the exposure stays known; only its file has been broken since.
            return replace(row, **{name: getattr(known, name) for name in FROM_HEADER})
        return row


def _obstacle(file: Path, state: os.stat_result) -> str:
    """Find the reason why a file is not even opened, "" if it can be."""
    if kind := file_kind_problem(state.st_mode):
        return f"{file}: {kind}, not a file"
    if (length := len(os.fsencode(file.name))) > _LONGEST_NAME:
        return f"{file}: a name of {length} bytes, too long for the names of its products; rename the file"
    if reason := unfit_path(str(file)):
        return f"{str(file)!r}: the path {reason}; rename the file, or its folder"
    return ""


def _blank(stem: str, file: Path, state: os.stat_result, named: datetime | None) -> SheetRow:
    """Make a row of which nothing is known yet; a file without a date is listed under its own time."""
    start = named or datetime.fromtimestamp(state.st_mtime, UTC)
    return replace(
        empty_row(stem),
        file=str(file),
        frame_type="UNKNOWN",
        date_obs=start.strftime("%Y-%m-%dT%H:%M:%S.000"),
        date_source="name" if named else "file",
        size=state.st_size,
        mtime=state.st_mtime_ns,
    )


def _inspect(blank: SheetRow, file: Path, settings: IndexSettings, instrument: Instrument) -> SheetRow:
    """Fill a blank row from the header and the structure of its file."""
    from visql_lib.frames.look import inspect  # imports astropy: only where a header is read

    try:
        structure = inspect(file, instrument, after_name=settings.date_after_name)
    except FrameError as error:
        log.info("%s", error)
        row = replace(blank, status=UNREADABLE, reason=str(error))
        return row if instrument.names.tell_start else _with_headers(row, file, instrument)
    odd = "; ".join(structure.header.notes)
    row = replace(blank, status=OK, reason=odd, **_header_values(structure.header))
    if structure.header.start is None:
        row = replace(row, date_source=blank.date_source)
    if structure.header.product:
        return replace(row, status=PRODUCT, reason=structure.header.product)
    if not instrument.has_grid:
        if structure.quadrants == ():
            reason = f"{file}: holds no image of {instrument.name}"
            log.info("%s", reason)
            return replace(row, status=UNREADABLE, reason=reason)
        return row
    expected = [
        q.name for q in instrument.quadrants.values() if not settings.detectors or q.ccd in settings.detectors
    ]
    missing = [] if structure.quadrants is None else [q for q in expected if q not in structure.quadrants]
    if len(missing) == len(expected):
        reason = f"{file}: holds none of the quadrants of {instrument.name}"
        log.info("%s", reason)
        return replace(row, status=UNREADABLE, reason=reason)
    if missing:
        named = " ".join(missing[:_NAMED]) + " ..." * (len(missing) > _NAMED)
        reason = "; ".join(
            filter(None, [f"{len(missing)} of {len(expected)} quadrants missing: {named}", odd])
        )
        log.info("%s: %s", blank.exposure, reason)
        return replace(row, status=INCOMPLETE, reason=reason)
    return row


def _with_headers(row: SheetRow, file: Path, instrument: Instrument) -> SheetRow:
    """Fill the row of a file that is cut short with what its headers tell: its night, its type."""
    from visql_lib.frames.look import headers_of_cut

    try:
        header = headers_of_cut(file, instrument)
    except FrameError:
        return row
    if header.start is None:
        return row
    return replace(row, **_header_values(header))


def _header_values(header: ExposureHeader) -> dict[str, Any]:
    """Return the columns of a sheet row that come from a header."""
    values = asdict(header)
    values.pop("notes")
    values.pop("product")
    start = values.pop("start")
    values["date_source"] = values.pop("start_source")
    if start is not None:
        values["date_obs"] = start.strftime("%Y-%m-%dT%H:%M:%S.") + f"{start.microsecond // 1000:03d}"
    return values
