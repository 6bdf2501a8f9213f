"""The ``visql`` command: one subcommand per step; read, call, write, and nothing else.

Each subcommand lives in a module of its own, imported only when it runs, and
imports the rooms it needs inside its function: ``visql --version`` is instant.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

import click

from visql_lib import __version__
from visql_lib.errors import VisqlError

# New objects until Python looks for garbage. Its 700 make it look at every imported module again and again: a
# tenth of a short step's time.
_GARBAGE = 100_000

# Subcommand -> (module, one line of help), in the order of the data's way.
COMMANDS: dict[str, tuple[str, str]] = {
    "simulate": ("simulate", "Make raw exposures with known truth."),
    "fetch": ("fetch", "Load new raw frames from the archive."),
    "watch": ("watch", "Look for new frames again and again, and run the workflow."),
    "index": ("index", "List raw frames in the exposure sheets."),
    "catalog": ("catalog", "Detect and measure the sources of one exposure."),
    "preview": ("preview", "Thumbnail, zooms and levels of one frame of any type."),
    "stars": ("stars", "Select the stars of a catalogue."),
    "moments": ("moments", "Measure the PSF moments of the selected stars."),
    "gaia-tile": ("gaia_tile", "Fetch the Gaia stars of one tile of the sky."),
    "gaia-project": ("gaia_project", "Gaia stars of an exposure in focal-plane coordinates."),
    "gaia-match": ("gaia_match", "Match stars to Gaia: astrometry and flux ratios."),
    "pictures": ("pictures", "Draw the pictures of one exposure."),
    "ratios": ("ratios", "Gather the flux ratios of a month: the matrix time x space."),
    "geometry": ("geometry", "Geometry of the focal plane and boresights of a month."),
    "ratio-pictures": ("ratio_pictures", "Draw a month's flux ratios over the focal plane."),
    "ratio-sheets": ("ratio_sheets", "Draw a month's flux ratios against colour, by CCD."),
    "trend": ("trend", "Flux loss over all months: rates, steps, forecast, pictures."),
    "month-trend": ("month_trend", "What the trend says of one month."),
    "radiation": ("radiation", "Particles of one exposure: counts, rates, maps."),
    "goes": ("goes", "X-ray flux of the Sun: GOES files to one series."),
    "goes-day": ("goes_day", "Fetch the X-ray flux of the Sun of one day."),
    "goes-picture": ("goes_picture", "Draw the X-ray flux of the Sun around one exposure."),
    "plate-solve": ("plate_solve", "Find where an exposure points, with astrometry.net."),
    "angles": ("angles", "Pointing, angles to the Sun and its X-ray flux, of a month."),
    "month-radiation": ("month_radiation", "Radiation of a month, and where light leaks in."),
    "detector": ("detector", "Levels and defects of a month's frames."),
    "movie": ("movie", "Movie of the exposures of a month."),
    "performance": ("performance", "When each product of a month was made."),
    "quality": ("quality", "Median moments, scores and status of a month."),
    "quality-pictures": ("quality_pictures", "Draw the pictures of a month's image quality."),
    "qc": ("qc", "Judge the quantities of a month by the dated limits."),
    "legacy": ("legacy", "Write the text tables of the original system."),
    "import-legacy": ("import_legacy", "Read text tables of the original system into the results."),
    "status": ("status", "Say what failed in a month; exit 1 if anything did."),
    "provenance": ("provenance", "Say where a product comes from."),
    "verify": ("verify", "Say which products of a month are missing, stale, foreign or damaged."),
    "pyramid": ("pyramid", "Tiles of a frame for the site's viewer."),
    "site": ("site", "Write the pages, or bring them up to date."),
    "alerts": ("alerts", "Note what is out of range, tell who wants to know."),
    "archive-month": ("archive_month", "Move or drop the raw frames of an old month."),
    "serve-archive": ("serve_archive", "A small archive on this machine, for tests and practice."),
    "schema": ("schema", "Write the schema and the documentation of settings, tables and flags."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"visql_lib.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Steps, in the order of the data"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a subcommand; suggest the nearest name for an unknown one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "; see visql --help"
            raise click.UsageError(f"no step {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="visql")
def cli() -> None:
    """Quality numbers, pictures and trends from raw frames.

    Each step reads the files named, in the order of the data's way, and writes
    its result to -o. `visql STEP --help` tells units and gives an example.

    Exit codes: 0 done, 1 failed on this input, 2 wrong usage or settings.
    """


def main() -> None:
    """Run the command line; our own errors become one line and an exit code."""
    gc.set_threshold(_GARBAGE)
    # Before numpy comes: several threads of its linear algebra add in another order, and the last digits
    # would depend on the cores. The workflow's jobs have one, too.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except VisqlError as error:
        click.echo(f"visql: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder that may not be written
        click.echo(f"visql: {error.filename or ''}: {error.strerror or error}", err=True)
        sys.exit(1)
    except MemoryError as error:
        click.echo(f"visql: out of memory ({error or 'no more to be had'}); give the job more", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
