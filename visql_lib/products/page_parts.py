"""Parts of pages as plain values: tables, remarks, pictures that a pipeline adds; the site renders them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    ``status`` is shown as icon and word, ``page`` (of the site) or ``product`` (below the results) is where
    the text leads.
    """

    text: str = ""
    status: str = ""
    page: str = ""
    product: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table: ``numbers`` are the heads of numbers; ``folded``: a click on its title opens it."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    numbers: tuple[str, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Remark:
    """A sentence with its status ("": none is shown), and the command that helps, "" for none."""

    status: str
    text: str
    command: str = ""


@dataclass(frozen=True)
class PageSection:
    """A part of a group's page; ``pictures`` are products below the results, ``broad`` ones shown large."""

    heading: str
    anchor: str
    remarks: tuple[Remark, ...] = ()
    tables: tuple[PageTable, ...] = ()
    pictures: tuple[str, ...] = ()
    broad: bool = False


@dataclass(frozen=True)
class ShownImage:
    """A FITS image of a group that has a page with the viewer.

    ``path`` is below the results, ``facts`` are labels and texts.
    """

    name: str
    path: str
    title: str
    facts: tuple[tuple[str, str], ...] = ()

    def page(self, group: str) -> str:
        """Return the path of its page in the site."""
        return f"images/{group}/{self.name}.html"


def viewer_script(variable: str, value: Any) -> str:
    """Compose a script that passes data to a page: the viewer finds them under the script's address.

    Browsers refuse to fetch data under file://, but load scripts. NaN is refused.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":  # or the end of a script element in some text would end it
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    key = 'document.currentScript.getAttribute("src")'
    return f"(window.{variable}=window.{variable}||{{}})[{key}]={text};\n"


def workflow_command(
    paths: Sequence[str], plural: str, groups: str, results: str, config: str, *more: str
) -> str:
    """Compose the command by which the workflow makes products with all they need.

    Parameters
    ----------
    paths : sequence of str
        As the workflow names them.
    plural, groups : str
        The setting that names groups, and which ones it is to look at, separated by commas.
    results, config : str
        Folder of results and file of settings, "" for none.
    *more : str
        Further settings, such as ``reduce={allow_missing: [dark]}``.
    """
    words = ["snakemake", *paths]
    if config:
        words += ["--configfile", config]
    words += ["--config", f"{plural}={groups}"]
    return shlex.join([*words, *([] if config else [f"results={results}"]), *more])
