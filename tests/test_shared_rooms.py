"""Shared rooms know no pipeline and no instrument of their own: no Euclid, no month, no long and short exposures.

What still does is listed here, with the reason. The list may only become shorter.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from visql_lib.cli import HEADINGS

LIBRARY = Path(__file__).parents[1] / "visql_lib"
COMMANDS_OF_VIS = {
    f"cli/{module}.py"
    for heading, commands in HEADINGS.items()
    if heading.startswith(("Euclid VIS", "Archives", "The original's"))
    for module, _ in commands.values()
}
WORDS = {
    "euclid": re.compile("euclid", re.IGNORECASE),
    "YYYYMM": re.compile(r"YYYYMM(?!DD)"),
    "month": re.compile(r"(?<![a-z])months?(?![a-z])", re.IGNORECASE),
    "class": re.compile("^(long|short)$"),
}
HELP, CLIENT, TYPE, OTHER = (
    "example in a help text",
    "client of its archive",
    "a type of numbers",
    "other sense",
)
ALLOWED: dict[str, dict[str, str]] = {
    "archives/euclid.py": {"euclid": CLIENT, "month": "of a date"},
    "archives/http.py": {"euclid": "who asks, told to servers"},
    "archives/loopback.py": {"euclid": CLIENT},
    "archives/votable_scan.py": {"class": TYPE},
    "cli/__init__.py": {"euclid": "headings of commands", "month": "headings of commands"},
    "cli/index.py": {"YYYYMM": HELP, "month": HELP},
    "cli/provenance.py": {"month": HELP},
    "cli/pyramid.py": {"euclid": HELP},
    "cli/site.py": {"YYYYMM": HELP, "month": HELP},
    "cli/watch.py": {"month": "key of the heartbeat file"},
    "config/fetch_settings.py": {"euclid": CLIENT, "month": "name of a command"},
    "config/service_settings.py": {"month": "documented meaning of a setting"},
    "instruments/euclid_names.py": {
        "euclid": "names of raw files of VIS",
        "month": "names of raw files of VIS",
    },
    "instruments/names.py": {"month": "of a date"},
    "live/heartbeat.py": {"month": "key of the heartbeat file"},
    "live/watch.py": {"month": "key of the heartbeat file"},
    "photometry/cells.py": {"month": "bin of time"},
    "photometry/month_trend.py": {"month": "bin of time"},
    "plots/core.py": {"class": "colours", "month": "format of Bokeh's axes"},
    "sheets/grouping.py": {"YYYYMM": "format of dates"},
    "simulate/plan.py": {"euclid": "names of simulated files"},
    "site/steps.py": {"class": OTHER},
    "sources/compiled.py": {"class": OTHER},
    "tables/products.py": {"month": "table of image quality"},
}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NAMES = ("id", "attr", "name", "arg", "module", "asname")


def shared_modules() -> list[str]:
    names = [path.relative_to(LIBRARY).as_posix() for path in sorted(LIBRARY.rglob("*.py"))]
    return [n for n in names if not n.startswith("pipelines/vis/") and n not in COMMANDS_OF_VIS]


def said(tree: ast.Module) -> Iterator[str]:
    """Yield the names and the texts of a module, without its documentation."""
    blocks = [node.body for node in ast.walk(tree) if isinstance(node, _WITH_DOCSTRING)]
    documentation = {id(block[0].value) for block in blocks if block and isinstance(block[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value
        yield from (value for name in _NAMES if isinstance(value := getattr(node, name, None), str))


def words_of(module: str) -> set[str]:
    texts = set(said(ast.parse((LIBRARY / module).read_text(encoding="utf-8"))))
    return {word for word, pattern in WORDS.items() if any(pattern.search(text) for text in texts)}


def test_shared_rooms_know_no_pipeline():
    found = {module: words for module in shared_modules() if (words := words_of(module))}
    new = {module: words - ALLOWED.get(module, {}).keys() for module, words in found.items()}
    assert not {module: words for module, words in new.items() if words}


@pytest.mark.parametrize("module", ALLOWED)
def test_what_is_allowed_is_still_needed(module):
    assert words_of(module) == ALLOWED[module].keys(), f"{module}: shorten the list of what is allowed"


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("def f(month): ...", "month"),
        ("path = f'{results}/months/{group}'", "month"),
        ("from visql_lib.instruments import euclid_names", "euclid"),
        ("if kind == 'long': ...", "class"),
        ('f("months YYYYMM")', "YYYYMM"),
    ],
)
def test_such_words_are_found(code, word):
    assert any(WORDS[word].search(text) for text in said(ast.parse(code)))
    assert not list(said(ast.parse('"""A month of Euclid, YYYYMM."""')))
