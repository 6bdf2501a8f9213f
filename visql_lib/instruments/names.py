"""Names of raw files: as an instrument's pattern reads them, or any name at all."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from visql_lib.errors import NameFormatError

SUFFIXES = re.compile(r"\.(fits|fit|fts)(\.gz|\.fz)?$", re.IGNORECASE)


def stem_of(name: str) -> str:
    """Return a file name without its FITS endings."""
    return SUFFIXES.sub("", name)


class FrameName(NamedTuple):
    """What the name of a raw file tells."""

    exposure: str  # the name without its endings
    start: datetime | None  # UTC; None where the name does not tell
    version: int
    same: tuple[str, ...]  # equal for all versions of an exposure

    @property
    def month(self) -> str:
        """Month of the start, YYYYMM; "" where the name does not tell."""
        return f"{self.start:%Y%m}" if self.start else ""


class NamePattern(BaseModel):
    """How raw files are named: a regular expression for the name without its endings.

    Its groups ``start`` (written as ``start`` says, as for strptime) and
    ``version`` mean something; without a pattern any name is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    pattern: str = ""
    start: str = "%Y%m%d_%H%M%S"
    shown: str = ""

    @model_validator(mode="before")
    @classmethod
    def _any(cls, value: object) -> object:
        return {} if value == "stem" else value

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression ({error})") from error
        return value

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        # ASCII only: a name becomes a path, and there are other digits that Python would take.
        return re.compile(self.pattern, re.ASCII)

    @property
    def tell_start(self) -> bool:
        """Whether names tell when an exposure began."""
        return "start" in self._compiled.groupindex

    def parse(self, name: str) -> FrameName:
        """Read the name of a file, with or without its endings.

        Raises
        ------
        NameFormatError
            If it is none of a raw frame.
        """
        stem = stem_of(name)
        if not self.pattern:
            return FrameName(stem, None, 0, (stem,))
        match = self._compiled.fullmatch(stem)
        groups = {key: text or "" for key, text in match.groupdict().items()} if match else {}
        try:
            version = int(groups.pop("version", "") or 0)
            start = datetime.strptime(groups["start"], self.start) if "start" in groups else None
        except ValueError:  # the 31st of June
            match = None
        if match is None:
            raise NameFormatError(f"{name}: not a raw file's name ({self.shown or self.pattern})")
        same = tuple(groups.values()) if "version" in self._compiled.groupindex else (stem,)
        return FrameName(stem, start and start.replace(tzinfo=UTC), version, same)
