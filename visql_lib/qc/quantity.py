"""The table of quantities of a pipeline: what each is called, where its values are, and when they are bad."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

HIGH, LOW, BOTH = "high", "low", "both"


@dataclass(frozen=True)
class Quantity:
    """One quantity of a pipeline.

    Attributes
    ----------
    name : str
        Qualified name, such as ``dome.HUMIDITY``: the part before the dot tells apart columns of one name.
    label, unit : str
        As pages and messages show it; no unit: a pure number.
    category : str
        Where it belongs on the pages.
    table, column, error : str
        Kind of the table that holds its values, their column, and the column of their
        standard errors; no error: none is known.
    fill : float
        What stands in its column for a value that is not known, such as -1 among integers; NaN always does.
    digits : int
        Decimals that are shown; 8 and more: with an exponent.
    bad : str
        Which values may be bad: ``high``, ``low`` or ``both``. Limits of the other side are refused.
    span : float
        Least span of an axis [unit]: less would show noise as if it were something. 0: none is known.
    logarithmic : bool
        Whether its axis is logarithmic.
    expected : tuple of str
        Frame types that should have a value; ``*``: all. Others have a QC result only where they have one.
    shown : bool
        Whether it is a column of the table of a group, with a timeline.
    formerly : str
        Its name before names were qualified: understood in what was written then.
    limits_in : str
        Where its limits are, if not in the file of limits.
    reaching : bool
        A value exactly at a limit is beyond it.
    alert : str
        Name of the alert that it shares with other quantities; "": its own.
    page : str
        Page of the site with its values of groups as a whole; "": the group's own.
    """

    name: str
    label: str
    unit: str
    category: str
    table: str
    column: str
    error: str = ""
    digits: int = 3
    bad: str = BOTH
    span: float = 0.0
    logarithmic: bool = False
    expected: tuple[str, ...] = ()
    shown: bool = True
    formerly: str = ""
    limits_in: str = ""
    reaching: bool = False
    alert: str = ""
    page: str = ""
    fill: float = math.nan

    def is_expected(self, frame_type: str) -> bool:
        """Say whether a frame of some type should have a value."""
        return "*" in self.expected or frame_type in self.expected

    @property
    def alert_name(self) -> str:
        """What an alert about it is called."""
        return self.alert or self.name


def metric_of(name: str, cls: str = "", part: str = "") -> str:
    """Return what a quantity of a class or a part of a group is called in alerts, such as ``a.B_long_c``."""
    return "_".join(filter(None, (name, cls, part))).replace(" ", "_")


class Quantities:
    """All quantities of a pipeline, in the order in which pages show them.

    Parameters
    ----------
    items : iterable of Quantity
    categories : mapping
        What is evaluated, in the order of the pages: key -> label.
    former_metric : callable, optional
        Gives today's name of a metric of alerts that was once another; by default former names of
        quantities alone are known.

    Raises
    ------
    ValueError
        If two have one name, a name is not qualified, or a category is not among `categories`.
    """

    def __init__(
        self,
        items: Iterable[Quantity],
        categories: Mapping[str, str],
        former_metric: Callable[[str], str] = str,
    ) -> None:
        self._items = tuple(items)
        self.categories = dict(categories)
        self._former_metric = former_metric
        self._named = {q.name: q for q in self._items}
        if len(self._named) < len(self._items):
            raise ValueError("two quantities of one name")
        if plain := [q.name for q in self._items if "." not in q.name]:
            raise ValueError(f"not a qualified name: {', '.join(plain)}")
        if lost := {q.category for q in self._items} - set(self.categories):
            raise ValueError(f"there is no category {', '.join(sorted(lost))}")

    def __iter__(self) -> Iterator[Quantity]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._named

    def __getitem__(self, name: str) -> Quantity:
        return self._named[name]

    def get(self, name: str) -> Quantity | None:
        """Return a quantity by its qualified name, None if there is none."""
        return self._named.get(name)

    @property
    def shown(self) -> tuple[Quantity, ...]:
        """Those that are columns of the table of a group."""
        return tuple(q for q in self._items if q.shown)

    @property
    def tables(self) -> tuple[str, ...]:
        """The kinds of tables that hold values."""
        return tuple(dict.fromkeys(q.table for q in self._items))

    def of_table(self, table: str, first: Sequence[str] = ()) -> tuple[Quantity, ...]:
        """Return the quantities whose values are in a kind of table, those of some columns first."""
        order = {column: place for place, column in enumerate(first)}
        found = (q for q in self._items if q.table == table)
        return tuple(sorted(found, key=lambda q: order.get(q.column, len(order))))

    def current_name(self, name: str) -> str:
        """Return the qualified name of a quantity that may have its former name; others stay as they are."""
        return next((q.name for q in self._items if q.formerly and q.formerly == name), name)

    def current_metric(self, metric: str) -> str:
        """Return today's name of a metric of an alert, or of the history of status, that was once another."""
        return self.current_name(self._former_metric(metric))

    def table_of(self, metric: str) -> str:
        """Look up the kind of table that holds a metric, "" for one that is no quantity."""
        of = (q.table for q in self._items if metric == q.name or metric.startswith(f"{q.name}_"))
        return next(of, "")

    def unknown(self, name: str) -> str:
        """Return what to write in place of an unknown name, in words."""
        if (current := self.current_name(name)) != name:
            return f"{name}: write {current}"
        same = [q.name for q in self._items if name in (q.column, q.name.partition(".")[2])]
        if same:
            return f"{name}: write {' or '.join(same)}"
        last = {q.name.partition(".")[2]: q.name for q in reversed(self._items)}
        close = get_close_matches(name, list(self._named), n=1)
        close = close or [last[found] for found in get_close_matches(name, list(last), n=1)]
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(self._named)}"
        return f"unknown quantity {name!r}; {hint}"
