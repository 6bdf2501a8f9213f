"""Arguments, options, logging and progress bars shared by the subcommands."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from visql_lib import run_record
from visql_lib.errors import ConfigError

if TYPE_CHECKING:
    from visql_lib.config import Settings
    from visql_lib.pipelines.vis.settings import VisSettings

F = TypeVar("F", bound=Callable[..., Any])

INPUT = click.Path(exists=True, dir_okay=False, path_type=Path)
OUTPUT = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PREFIX = click.Path(path_type=Path)


def step(name: str, help_text: str, example: str) -> Callable[[F], click.Command]:
    """Make a function a subcommand: help with an example, ``--config`` and ``--verbose``."""

    def decorate(function: F) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            with run_record.recording(name):
                return function(*args, **options)

        command = click.command(name, help=help_text, epilog=f"\b\nExample:\n  {example}")
        return command(config_option(verbose_option(run)))

    return decorate


def camera_step(name: str, help_text: str, example: str) -> Callable[[F], click.Command]:
    """Make a function a subcommand for frames of any camera: like `step`, with ``--instrument``."""

    def decorate(function: F) -> click.Command:
        instrument = click.option(
            "-i",
            "--instrument",
            metavar="NAME",
            help="Camera file: a name in config/instruments, or a path; default: that of the settings.",
        )
        return step(name, help_text, example)(instrument(function))

    return decorate


def settings_of_pipeline(pipeline: str, config: Path | None, instrument: str | None = None) -> Settings:
    """Read the settings of ``--config``, which must be those of a pipeline; without a file: its defaults.

    Parameters
    ----------
    pipeline : str
    config : Path or None
    instrument : str, optional
        Name or path of the camera's file, in the place of that of the settings.

    Raises
    ------
    ConfigError
        If they are another pipeline's.
    """
    from visql_lib.config.load import read_yaml
    from visql_lib.pipelines import settings_from_mapping

    values = read_yaml(config) if config is not None else {}
    if (name := values.get("pipeline", pipeline)) != pipeline:
        raise ConfigError(f"{config}: pipeline: this is a command of {pipeline!r}, not of {name!r}")
    if instrument is not None:
        values["instrument"] = instrument
    return settings_from_mapping({"pipeline": pipeline} | values, str(config or "settings"))


def config_option(function: F) -> F:
    """Add ``--config FILE``."""
    return click.option(
        "--config",
        "config",
        type=INPUT,
        metavar="FILE",
        help="Settings file (YAML), for settings other than the defaults; see docs/configuration.md.",
    )(function)


def verbose_option(function: F) -> F:
    """Add ``-v``, which sets up logging."""
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=lambda _ctx, _param, value: set_up_logging(value),
        help="Log more messages.",
    )(function)


def output_option(help_text: str, kind: click.Path = OUTPUT, metavar: str = "FILE") -> Callable[[F], F]:
    """Add the result's ``-o``."""
    return click.option("-o", "--output", "output", type=kind, metavar=metavar, required=True, help=help_text)


def set_up_logging(verbose: bool) -> None:
    """Log to the standard error stream: warnings only, or all messages of VISQL."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    logging.getLogger("visql_lib").setLevel(logging.DEBUG if verbose else logging.INFO)


def settings_of_any(config: Path | None) -> Settings:
    """Read the settings of ``--config``, of whatever pipeline they are."""
    from visql_lib.pipelines import load_settings

    return load_settings(config)


def settings_of(config: Path | None) -> VisSettings:
    """Read the settings of ``--config``, which must be those of VIS.

    Raises
    ------
    ConfigError
        If they are another pipeline's.
    """
    from visql_lib.pipelines.vis.settings import VisSettings

    settings = settings_of_any(config)
    if not isinstance(settings, VisSettings):
        raise ConfigError(f"{config}: pipeline: this is a command of 'vis', not of {settings.pipeline!r}")
    return settings


RECORD_FAILURE = click.option(
    "--record-failure",
    is_flag=True,
    help="If this exposure fails, write empty tables that contain the reason, and exit with 0.",
)


AGAIN = click.option(
    "--again",
    type=OUTPUT,
    metavar="NOTE",
    help="Retry the download; rewrite the result only if it changes, and write the outcome to this file.",
)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal; yields a function that moves it by one."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def progress_count(label: str) -> Iterator[Callable[[], None]]:
    """Like `progress`, for an unknown total."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn(label), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda: bar.advance(task)
