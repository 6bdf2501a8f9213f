"""The ``visql`` command, with one subcommand per step: read files, call functions, write results.

Each subcommand is a module that is imported only when it runs, and that imports other
modules inside its function, so that ``visql --version`` is instant.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from visql_lib import __version__
from visql_lib.errors import VisqlError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

# Number of new objects before garbage collection. With Python's default of 700, all imported modules are
# scanned again and again, which takes a tenth of the time of a short step.
_GARBAGE = 100_000

# Heading -> subcommand -> (module, one line of help), in the order of processing.
HEADINGS: dict[str, dict[str, tuple[str, str]]] = {
    "Any frame": {
        "index": ("index", "List raw frames in the exposure sheets."),
        "catalog": ("catalog", "Detect and measure the sources of one exposure."),
        "preview": ("preview", "Make thumbnail, zooms and levels of one frame of any type."),
        "provenance": ("provenance", "Show how a product was made."),
    },
    "Images of any camera": {
        "arith": ("arith", "Add, subtract, multiply or divide images, with error and mask."),
        "combine": ("combine", "Combine frames pixel by pixel, with errors and mask."),
        "dark-line": ("dark_line", "Fit the line of dark levels against exposure time."),
        "display": ("display", "Draw images: grey, colour, RGB, pages, movies."),
        "log": ("log", "Tabulate values of headers."),
        "rename": ("rename", "Rename frames to one sequence in time, and back."),
        "stats": ("stats", "Compute statistics of images, or of a region of each."),
    },
    "A night of CCD frames": {
        "master-bias": ("master_bias", "Combine biases to a master bias; odd ones are left out."),
        "master-dark": ("master_dark", "Fit the line of darks of several times for each pixel."),
        "master-flat": ("master_flat", "Combine flats to a master flat, without trails of stars."),
        "bad-pixels": ("bad_pixels", "Map hot, dead and nonlinear pixels and bad columns."),
        "reduce": ("reduce", "Reduce lights: overscan, bias, dark and flat, with error and mask."),
        "register": ("register", "Register images of one field by their stars: shift, turn, transparency."),
        "stack": ("stack", "Combine registered lights, with errors, mask and number of values."),
        "night-tables": ("night_tables", "Tell what became of each frame of a night."),
    },
    "Light curves": {
        "lc-check": ("lc_check", "Tell what a frame is read as, line by line, and what is missing."),
        "lc-frame": ("lc_frame", "Measure frames: time, sky, sources, seeing, Sun and Moon."),
        "lc-frames": ("lc_frames", "Gather the frames of a set; copies and kicked ones are left out."),
        "lc-defringe": ("lc_defringe", "Make the map of fringes of a set's night."),
        "lc-reference": ("lc_reference", "Choose the reference frame of a target, and name its stars."),
        "lc-measure": ("lc_measure", "Align frames with the reference, measure apertures, cut stamps."),
        "lc-apertures": ("lc_apertures", "Gather transforms and aperture photometry of a set."),
        "lc-stars": ("lc_stars", "Choose the comparison stars of a set."),
        "lc-medcoeff": ("lc_medcoeff", "Compute coefficients of frames by aperture photometry."),
        "lc-stack": ("lc_stack", "Stack the good frames of a set; draw the finding chart."),
        "lc-psf-model": ("lc_psf_model", "Decide whether the PSF of a set changes over the frame."),
        "lc-psf": ("lc_psf", "Fit the PSF of frames, and the fluxes of all their stars."),
        "lc-renorm": ("lc_renorm", "Compute coefficients of frames by PSF photometry of the stars."),
        "lc-scene": ("lc_scene", "Choose the model of a target: smoothness of the galaxy, its core."),
        "lc-target": ("lc_target", "Fit a target in all frames of a set at once."),
        "lc-nights": ("lc_nights", "Compute the light curve by frame and by night."),
        "lc-export": ("lc_export", "Write the light curves of a target: .rdb, ECSV, Parquet, README."),
        "lc-pictures": ("lc_pictures", "Draw the frames, a set or a target."),
        "lc-read": ("lc_read", "Read an .rdb of any dialect; write a table, or the other way."),
        "lc-thaw": ("lc_thaw", "Let references, stars and models be chosen anew."),
        "simulate-season": (
            "simulate_season",
            "Simulate frames of a lensed quasar over a season, with truth.",
        ),
    },
    "A guide camera": {
        "pointing": ("pointing", "Measure one exposure: zero points, sky, dome, streaks."),
        "pointing-hour": ("pointing_hour", "Measure the exposures of an hour of a night."),
        "pointing-table": ("pointing_table", "Gather the tables of the hours of a night."),
        "pointing-index": ("pointing_index", "List the raw frames of a night by their headers."),
        "pointing-picture": ("pointing_picture", "Draw a night: zero point and sky against time."),
        "pointing-movie": ("pointing_movie", "Make a movie of a night, or of an interval."),
        "pointing-masters": ("pointing_masters", "Make a master bias, dark or flat, or find bad pixels."),
        "pointing-watch": ("pointing_watch", "Measure exposures as they arrive, and tell them at once."),
        "pointing-telemetry": ("pointing_telemetry", "Print what the last exposure told."),
        "pointing-season": ("pointing_season", "Summarise all nights, and draw them."),
    },
    "Euclid VIS, one exposure": {
        "stars": ("stars", "Select the stars of a catalogue."),
        "moments": ("moments", "Measure the PSF moments of the selected stars."),
        "gaia-project": ("gaia_project", "Project Gaia stars to focal-plane coordinates."),
        "gaia-match": ("gaia_match", "Match stars to Gaia: astrometry and flux ratios."),
        "radiation": ("radiation", "Count the particles of one exposure: rates and maps."),
        "plate-solve": ("plate_solve", "Determine the pointing of an exposure with astrometry.net."),
        "pictures": ("pictures", "Draw the pictures of one exposure."),
        "goes-picture": ("goes_picture", "Draw the solar X-ray flux around one exposure."),
    },
    "Euclid VIS, a month": {
        "quality": ("quality", "Compute median moments, scores and status for a month."),
        "quality-pictures": ("quality_pictures", "Draw the image quality of a month."),
        "geometry": ("geometry", "Fit the geometry of the focal plane and the boresights of a month."),
        "ratios": ("ratios", "Bin the flux ratios of a month in time and position."),
        "ratio-pictures": ("ratio_pictures", "Draw maps of the flux ratios of a month."),
        "ratio-sheets": ("ratio_sheets", "Draw the flux ratios of a month against colour, by CCD."),
        "trend": ("trend", "Measure the flux loss over all months: rates, steps, forecast."),
        "month-trend": (
            "month_trend",
            "Extract the flux loss, rate and forecast of one month from the trend.",
        ),
        "angles": ("angles", "Collect pointing, solar angles and solar X-ray flux of a month."),
        "month-radiation": ("month_radiation", "Summarise the radiation and light leaks of a month."),
        "detector": ("detector", "Measure detector levels and defects of a month."),
        "movie": ("movie", "Make a movie of the exposures of a month."),
        "performance": ("performance", "List when each product of a month was made."),
        "status": ("status", "List the status of all frames of a month; exit 1 if any failed."),
    },
    "Archives and stores": {
        "fetch": ("fetch", "Download new raw frames from the archive."),
        "gaia-tile": ("gaia_tile", "Download the Gaia stars of one tile of the sky."),
        "goes-day": ("goes_day", "Download the solar X-ray flux of one day."),
        "goes": ("goes", "Combine GOES files into one time series of the solar X-ray flux."),
        "archive-month": ("archive_month", "Move or delete the raw frames of an old month."),
        "serve-archive": ("serve_archive", "Run a small archive on this machine, to practise with."),
    },
    "Site and operation": {
        "qc": ("qc", "Compare the quantities of a group of frames with their dated limits."),
        "verify": ("verify", "Find missing, stale, damaged or foreign products of a group."),
        "site": ("site", "Write or update the web pages."),
        "pyramid": ("pyramid", "Cut a frame into tiles for the viewer of the site."),
        "alerts": ("alerts", "Update the alerts, and send them."),
        "watch": ("watch", "Watch for new frames and run the workflow."),
    },
    "The original's text tables": {
        "legacy": ("legacy", "Export the text tables of the original scripts."),
        "import-legacy": ("import_legacy", "Import text tables of the original scripts."),
    },
    "Development": {
        "simulate": ("simulate", "Simulate raw exposures with known truth."),
        "simulate-night": ("simulate_night", "Simulate a night of an ordinary camera with known truth."),
        "schema": ("schema", "Generate the schema and documentation of settings, tables and flags."),
    },
}
COMMANDS = {name: known for group in HEADINGS.values() for name, known in group.items()}
_ENTRY_POINTS = "visql.commands"  # their group: commands of pipelines of other packages


def other_commands() -> dict[str, EntryPoint]:
    """Find the commands of pipelines of other packages: entry points, each a click command."""
    from importlib.metadata import entry_points  # takes longer than most commands' start: only where needed

    return {point.name: point for point in entry_points(group=_ENTRY_POINTS) if point.name not in COMMANDS}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return [*COMMANDS, *sorted(other_commands())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        command: click.Command | None = None
        if cmd_name in COMMANDS:
            command = importlib.import_module(f"visql_lib.cli.{COMMANDS[cmd_name][0]}").command
        elif point := other_commands().get(cmd_name):
            command = point.load()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands under their headings, without importing them; those of others are named."""
        for heading, group in HEADINGS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, text) for name, (_, text) in group.items()])
        if others := other_commands():
            with formatter.section("Other pipelines"):
                formatter.write_dl([(name, f"See {point.module}.") for name, point in sorted(others.items())])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a subcommand; suggest the nearest name for an unknown one."""
        unknown = bool(args) and args[0] not in COMMANDS and not args[0].startswith("-")
        if unknown and args[0] not in (others := other_commands()):
            from difflib import get_close_matches

            close = get_close_matches(args[0], [*COMMANDS, *others], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "; see visql --help"
            raise click.UsageError(f"no step {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="visql")
def cli() -> None:
    """Image quality, pictures and trends from raw frames.

    Each step reads the given files and writes its result to the file given with -o.
    `visql STEP --help` describes the arguments and their units, with an example.

    Exit codes: 0 success, 1 failure on this input, 2 wrong usage or settings.
    """


def main() -> None:
    """Run the command line; print VISQL's own errors as one line and set the exit code."""
    gc.set_threshold(_GARBAGE)
    # Set before numpy is imported: with several threads, linear algebra adds in another order, and the last
    # digits would depend on the number of cores. The jobs of the workflow use one thread, too.
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
        click.echo(f"visql: out of memory ({error or 'no memory left'}); give the job more memory", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
