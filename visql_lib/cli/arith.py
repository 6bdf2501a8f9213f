"""`visql arith`: one image and another, or a number -> their sum, difference, product or quotient."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.files import ALLOW_EMPTY, OVERWRITE, file_step, one_by_one

if TYPE_CHECKING:
    from visql_lib.images.image import Image

log = logging.getLogger(__name__)

STAGES = {"arith": 1}
_OPERATORS = ("+", "-", "x", "*", "/", "=")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_HISTORY = 72  # letters of one card

Operand = Path | float


@dataclass(frozen=True)
class Task:
    """One result: its operands, where it is written, and whose header it has."""

    a: Operand
    b: Operand
    output: Path | None
    header_of_b: bool


@file_step(
    "arith",
    """Compute A OP B, pixel by pixel: + - x * / or = (B in the place of A).

    A and B are lists of files or numbers: N files with N, with one, or with a number; a cube
    with a plane. The results are float32, with ERR and MASK where A or B have them; what is
    divided by zero is NaN and masked. Header and name are those of A (of B, if only B is a
    list of several, or A is a number); -o ROOT takes the place of all before the frame's
    number, -o NAME.fits is taken as it is. Results are written to the current folder, or
    to that of ROOT. Quote * as '*', or write x.""",
    "visql arith 'raw/20210227.{0041..0050}.fit' - master_bias.fits -o bsub",
)
@click.argument("words", metavar="A OP B", nargs=-1, required=True)
@click.option("-o", "--output", "root", metavar="ROOT", help="Root of the results' names, or one whole name.")
@click.option("-s", "--show", is_flag=True, help="Compute and report; write nothing.")
@click.option("--float64", "double", is_flag=True, help="Write results with 64 bits.")
@OVERWRITE
@ALLOW_EMPTY
def command(
    words: tuple[str, ...],
    root: str | None,
    show: bool,
    double: bool,
    overwrite: bool,
    allow_empty: bool,
) -> None:
    """Plan all, then compute one by one."""
    from visql_lib.images.names import refuse_existing

    first, operator, second = _split(words)
    if root is None and not show:
        raise click.UsageError("give -o ROOT (or NAME.fits), or -s to see the result only")
    tasks = _tasks(_operands(first, allow_empty), _operands(second, allow_empty), root)
    if not show:
        refuse_existing([task.output for task in tasks if task.output], overwrite)
    reader = _Reader()

    def work(task: Task) -> None:
        _compute(task, operator, reader, double, show)

    one_by_one("arith", ((str(_main(task)), task) for task in tasks), work, len(tasks))


# A negative number is an operand, not an option.
command.context_settings["ignore_unknown_options"] = True


def _split(words: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Find the operator; what stands before and after it are the operands."""
    for word in words:
        if re.match(r"-.", word) and not _NUMBER.fullmatch(word):
            raise click.NoSuchOption(word)
    place = next((i for i, word in enumerate(words) if i and word in _OPERATORS), 0)
    if not 0 < place < len(words) - 1:
        raise click.UsageError(
            "write A OP B, with blanks around one of + - x * / = (in the shell '*', quoted, or x)"
        )
    return list(words[:place]), words[place], list(words[place + 1 :])


def _operands(words: Sequence[str], allow_empty: bool) -> list[Operand]:
    """Read one side: a number, or a list of files; a file whose name is a number is written ./5."""
    from visql_lib.images.lists import expand

    if len(words) == 1 and _NUMBER.fullmatch(words[0]):
        return [float(words[0])]
    return list(expand(words, allow_empty=allow_empty))


def _tasks(first: Sequence[Operand], second: Sequence[Operand], root: str | None) -> list[Task]:
    """Pair the operands and name the results.

    Raises
    ------
    RequestError
        If the lists have different lengths, or a result would replace what another is made from.
    """
    from visql_lib.errors import RequestError
    from visql_lib.images.names import output_paths

    if not first or not second:
        return []
    number = max(len(first), len(second))
    if not {len(first), len(second)} <= {1, number}:
        raise RequestError(f"{len(first)} files with {len(second)}: give as many, one, or a number")
    of_b = isinstance(first[0], float) or len(second) > len(first)
    named = [file for file in (second if of_b else first) if isinstance(file, Path)]
    if not named:
        raise RequestError("two numbers: one of A and B must be a file")
    outputs: Sequence[Path | None] = output_paths(root, named) if root is not None else [None] * number
    several_a, several_b = len(first) > 1, len(second) > 1
    tasks = [
        Task(first[i if several_a else 0], second[i if several_b else 0], output, of_b)
        for i, output in enumerate(outputs)
    ]
    made = {task.output.resolve(): i for i, task in enumerate(tasks) if task.output is not None}
    for i, task in enumerate(tasks):
        for file in _files(task):
            if made.get(file.resolve(), i) != i:
                raise RequestError(f"{file} would be replaced by a result before it is used; another root")
    return tasks


def _files(task: Task) -> Iterator[Path]:
    return (operand for operand in (task.a, task.b) if isinstance(operand, Path))


def _main(task: Task) -> Operand:
    return task.b if task.header_of_b else task.a


class _Reader:
    """Reads operands; the one that all results share is kept."""

    def __init__(self) -> None:
        self._last: dict[int, Image] = {}

    def image(self, operand: Operand, side: int) -> Image:
        """Read an operand of one side, or make an image of a number."""
        import numpy as np

        from visql_lib.images.image import Image, read_image

        if not isinstance(operand, Path):
            return Image(np.asarray(operand, np.float64))
        known = self._last.get(side)
        if known is None or known.path != operand:
            known = self._last[side] = read_image(operand, np.float64)
        return known


def _compute(task: Task, operator: str, reader: _Reader, double: bool, show: bool) -> None:
    """Make one result, and write or report it."""
    import numpy as np

    from visql_lib.ccd.arithmetic import Pixels, arithmetic
    from visql_lib.errors import FrameError, RequestError
    from visql_lib.images.image import Image
    from visql_lib.images.writing import write_image

    a, b = reader.image(task.a, 0), reader.image(task.b, 1)
    operands = (Pixels(image.data, image.err, image.mask) for image in (a, b))
    same = a.path is not None and b.path is not None and a.path.samefile(b.path)
    try:
        found = arithmetic(
            next(operands), operator, next(operands), same=same, dtype=np.float64 if double else np.float32
        )
    except RequestError as error:  # of these two; others may go together
        raise FrameError(f"{task.a} {operator} {task.b}: {error}") from error
    main = b if task.header_of_b else a
    used = main.used if main.used is not None and main.used.shape == found.values.shape else None
    result = Image(found.values, main.header.copy(), found.err, found.mask, used)
    alone = _error_known_of_one(a, b, operator)
    if alone:
        log.warning("%s %s %s: ERR is that of %s alone", task.a, operator, task.b, alone)
    result.header.add_history(_history(task, operator, alone))
    if show:
        click.echo(_report(task, operator, result))
    else:
        assert task.output is not None
        write_image(task.output, result, STAGES, list(_files(task)))


def _error_known_of_one(a: Image, b: Image, operator: str) -> str:
    """Name the only file of two that has errors: those of the result are then too small."""
    if a.path is None or b.path is None or operator == "=" or (a.err is None) == (b.err is None):
        return ""
    return a.name if a.err is not None else b.name


def _text(operand: Operand) -> str:
    name = operand.name if isinstance(operand, Path) else f"{operand:.15g}"
    return "".join(c if " " <= c <= "~" else "?" for c in name)  # all that FITS allows


def _history(task: Task, operator: str, alone: str) -> str:
    """Compose the one line of HISTORY; long names are cut in their middle, the record has them whole."""
    tail = "; ERR of one" if alone else ""
    names = [_text(task.a), _text(task.b)]
    room = _HISTORY - len(f"visql arith:  {operator} {tail}")
    while sum(map(len, names)) > room:
        i = max((0, 1), key=lambda side: len(names[side]))
        over = min(sum(map(len, names)) - room, len(names[i]) - room // 2)
        keep = len(names[i]) - max(over, 1) - 2
        names[i] = f"{names[i][: keep // 2]}..{names[i][len(names[i]) - (keep - keep // 2) :]}"
    return f"visql arith: {names[0]} {operator} {names[1]}{tail}"


def _report(task: Task, operator: str, result: Image) -> str:
    """Format one line of what the result is."""
    import numpy as np

    good = result.data[result.valid].astype(np.float64)
    left = result.data.size - good.size
    head = f"{_text(task.a)} {operator} {_text(task.b)}" + (f" -> {task.output}" if task.output else "")
    if not good.size:
        return f"{head}: no valid pixel of {left}"
    found = {"mean": good.mean(), "median": np.median(good), "std": good.std()}
    found |= {"min": good.min(), "max": good.max()}
    values = "  ".join(f"{name} {value:.7g}" for name, value in found.items())
    return f"{head}: {values}  masked {left}"
