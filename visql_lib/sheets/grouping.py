"""How frames are grouped, such as by months or nights, and where the products of groups and frames are.

A group is known by its key: its names joined by ``/``, of which most kinds have one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from string import Formatter

from visql_lib.errors import TableError

# Label of keys that are dates -> their format, and how people write them.
_DATES = {"YYYYMM": ("%Y%m", "%Y-%m"), "YYYYMMDD": ("%Y%m%d", "%Y-%m-%d")}


@dataclass(frozen=True)
class Grouping:
    """A kind of group and the paths of its sheet, its frames and its products, below the results.

    Parameters
    ----------
    kind : str
        Such as ``night``; its plural is the setting that names groups and the folder of their pages.
    label : str
        How a key is written, such as ``YYYYMMDD``.
    names : mapping
        Field of paths -> the regular expression of its names, such as ``{"night": r"\\d{8}"}``.
    sheet, frame, folder, table : str
        Paths with these fields: of the sheet; of a frame's products without their endings (with
        ``{exposure}`` too); of the folder of a group's products; of its table of a kind (with ``{table}``).
    in_name : str
        Regular expression whose first part is the group's key in a frame's name, "" where names do not tell.
    """

    kind: str
    label: str
    names: Mapping[str, str]
    sheet: str
    frame: str
    folder: str
    table: str
    in_name: str = ""

    @property
    def plural(self) -> str:
        """What several groups are called, such as ``nights``."""
        return f"{self.kind}s"

    @property
    def wildcards(self) -> str:
        """A key with fields in place of its names, such as ``{target}/{telescope}``."""
        return "/".join(f"{{{name}}}" for name in self.names)

    def fields(self, group: str) -> dict[str, str]:
        """Return the fields of a group's paths."""
        return dict(zip(self.names, group.split("/"), strict=True))

    def key(self, fields: Mapping[str, str]) -> str:
        """Return the key of the group with these fields, such as the wildcards of a rule."""
        return "/".join(fields[name] for name in self.names)

    def is_key(self, group: str) -> bool:
        """Say whether a text can be the key of a group."""
        return re.fullmatch("/".join(self.names.values()), group) is not None

    def sheet_path(self, results: Path, group: str) -> Path:
        """Return the path of a group's sheet."""
        return results / self.sheet.format(**self.fields(group))

    def stem(self, results: Path | str, group: str, exposure: str) -> str:
        """Return the path of a frame's products without their endings."""
        return f"{results}/{self.frame.format(**self.fields(group), exposure=exposure)}"

    def group_folder(self, results: Path, group: str) -> Path:
        """Return the folder of a group's products."""
        return results / self.folder.format(**self.fields(group))

    def folders(self, results: Path, group: str) -> list[Path]:
        """List the folders of a group's products: those of its frames, and its own."""
        frames = self.frame.partition("{exposure}")[0].rpartition("/")[0]
        return [results / folder.format(**self.fields(group)) for folder in (frames, self.folder)]

    def table_path(self, results: Path, group: str, kind: str) -> Path:
        """Return the path of a group's table of a kind."""
        return results / self.table.format(**self.fields(group), table=kind)

    def shown(self, group: str) -> str:
        """Return a group's key as people write it: dates with hyphens."""
        if self.label not in _DATES:
            return group
        return f"{datetime.strptime(group, _DATES[self.label][0]):{_DATES[self.label][1]}}"

    def end(self, group: str) -> datetime | None:
        """Return when a group that is a month or a day ends (UTC), None for others."""
        if self.label not in _DATES or not self.is_key(group):
            return None
        try:
            first = datetime.strptime(group, _DATES[self.label][0]).replace(tzinfo=UTC)
        except ValueError:
            return None
        if self.label == "YYYYMMDD":
            return first + timedelta(days=1)
        return (first + timedelta(days=32)).replace(day=1)

    @property
    def is_dated(self) -> bool:
        """Whether keys are dates, so that one group follows the other in time."""
        return self.label in _DATES

    def parent(self, group: str) -> str:
        """Return what a group belongs to: its key without the last name; "" if keys have one name."""
        return group.rpartition("/")[0]

    def expanded(self, results: Path, names: Iterable[str]) -> list[str]:
        """Replace names that are the beginning of keys, such as a target's, by the keys that have a sheet."""
        known = self.groups(results)
        found: dict[str, None] = {}
        for name in names:
            mine = () if self.is_key(name) else (key for key in known if key.startswith(f"{name}/"))
            found |= dict.fromkeys(tuple(mine) or (name,))
        return list(found)

    def groups(self, results: Path) -> list[str]:
        """List the groups that have a sheet, sorted."""
        pattern = self.sheet.format(**dict.fromkeys(self.names, "*"))
        paths = (path.relative_to(results).as_posix() for path in results.glob(pattern))
        matches = (self._sheet_regex.fullmatch(path) for path in paths)
        return sorted(self.key(match.groupdict()) for match in matches if match is not None)

    def locate(self, sheet: Path) -> tuple[Path, str]:
        """Return the results and the group that a sheet belongs to, from its path.

        Raises
        ------
        TableError
            If it is not where sheets are.
        """
        path = sheet.absolute()
        parts = self.sheet.count("/") + 1
        match = self._sheet_regex.fullmatch("/".join(path.parts[-parts:]))
        if match is None:
            raise TableError(f"{sheet}: not where sheets are: RESULTS/{self.sheet}")
        results = sheet.parents[parts - 1] if len(sheet.parents) >= parts else path.parents[parts - 1]
        return results, self.key(match.groupdict())

    @cached_property
    def _sheet_regex(self) -> re.Pattern[str]:
        found, seen = "", set[str]()
        for text, name, _, _ in Formatter().parse(self.sheet):
            found += re.escape(text)
            if name:
                found += f"(?P={name})" if name in seen else f"(?P<{name}>{self.names[name]})"
                seen.add(name)
        return re.compile(found)
