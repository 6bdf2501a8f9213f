"""`visql pointing`: one frame of a guide camera -> stars, zero points, sky, streaks, pictures, telemetry."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import FOLDER, INPUT
from visql_lib.cli.pointing_common import pointing_step

if TYPE_CHECKING:
    from visql_lib.pipelines.pointing.exposure import ExposureOutcome
    from visql_lib.pipelines.pointing.settings import PointingSettings

_SWITCHES = {  # option -> what it turns on or off in the section `exposure`
    "one_aper": ("one_aperture", True),
    "bg_sigclip": ("sky_clip", True),
    "pm_corr": ("proper_motions", True),
    "skip_flatfield": ("flat_field", False),
    "sci_fov_checkplot": ("science_only", True),
    "check_tcs_motion": ("check_motion", True),
    "detect_streaks": ("streaks", True),
}
_OFF = {  # what is off unless an option or a file of settings turns it on
    "check_motion": False,
    "sky_clip": False,
    "proper_motions": False,
    "streaks": False,
    "detrended": True,
    "pictures": ("zp",),
}


def _switch(*names: str, help: str) -> Any:
    return click.option(*names, is_flag=True, help=help)


@pointing_step(
    "pointing",
    "Measure the FRAME of a guide camera: stars, zero points, sky, dome, streaks. Without --config, what no "
    "option asks for is off; with it, its section `exposure` counts, and options add to it.",
    "visql pointing 20210611.221335.00012_20000.fits -o out --calibration masters --gaia gaia --pm-corr",
)
@click.argument("frame", type=INPUT)
@click.option(
    "-o",
    "--outdir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of products; none: nothing is written.",
)
@click.option(
    "--calibration",
    type=FOLDER,
    help="Folder of the masters; else that of the settings, or POINTING_CAMERA_META.",
)
@click.option(
    "--gaia",
    type=FOLDER,
    help="Folder of files of Gaia, in the place of the store; else that of the settings, or PC_GAIA_DIR.",
)
@_switch("--dont-write-detrended", help="Write no detrended frame.")
@_switch("--skip-checkplot", help="Draw no picture of the zero point.")
@_switch("--nightly-subdir", help="Write into a folder of the night in the folder of products.")
@_switch("--send-redis", help="Tell the zero point and the sky to the Redis server.")
@_switch("--one-aper", help="Measure in the standard aperture only.")
@_switch("--bg-sigclip", help="Clip the pixels of the annulus at 3 sigma.")
@click.option("--multiproc", type=click.IntRange(1, 8), default=1, show_default=True, help="Threads.")
@click.option(
    "--max-n-stars", type=click.IntRange(1), help="The brightest stars that are measured.  [default: 3000]"
)
@_switch("--pm-corr", help="Move the stars to the date of the exposure.")
@_switch("--skip-flatfield", help="Do not divide by the flat.")
@click.option(
    "--sci-inst-name", help="Name of the science field in telemetry; default: that of the camera's file."
)
@_switch("--sci-fov-checkplot", help="Draw only stars in the science field.")
@_switch("--check-tcs-motion", help="Measure nothing if the telescope moves.")
@click.option(
    "--max-zp-radius",
    type=click.FloatRange(0, min_open=True),
    help="Stars farther from the centre [px] are in no zero point.",
)
@_switch("--detect-streaks", help="Find streaks.")
@click.option(
    "--streak-time-limit", type=click.FloatRange(0), help="The search ends after so long [s].  [default: 10]"
)
@_switch("--plot-detrended", help="Draw the detrended frame.")
@_switch("--plot-streaks", help="Draw the streaks into it.")
@_switch("--plot-quiver", help="Draw the shifts of the centroids.")
def command(
    frame: Path, outdir: Path | None, config: Path | None, instrument: str | None, **given: Any
) -> None:
    """Measure, tell, write."""
    from visql_lib.cli.pointing_common import give_back_memory
    from visql_lib.errors import FrameError
    from visql_lib.pipelines.pointing.exposure import Worker
    from visql_lib.pipelines.pointing.status import GuideStatus

    give_back_memory()
    settings = _settings(config, instrument, given)
    worker = Worker(settings, gaia=_gaia(given["gaia"], config), threads=given["multiproc"])
    outcome = worker.measure(frame)
    if outcome.status == GuideStatus.FAILED:
        raise FrameError(outcome.reason)
    if given["send_redis"] and outcome.measured is not None:
        _tell(outcome, worker, given["sci_inst_name"])
    if outdir is not None and outcome.measured is not None:
        night = outcome.frame.night if outcome.frame is not None and given["nightly_subdir"] else ""
        folder = outdir / night
        folder.mkdir(parents=True, exist_ok=True)
        worker.write(outcome, folder)
        worker.finish(frame, folder, outcome)
    click.echo(_line(outcome))


def _settings(config: Path | None, instrument: str | None, given: dict[str, Any]) -> PointingSettings:
    """Return the settings of a file, or those that are off unless an option turns them on."""
    from visql_lib.cli.pointing_common import pointing_settings_of
    from visql_lib.config.load import validated
    from visql_lib.pipelines.pointing.settings import PointingSettings

    settings = pointing_settings_of(config, instrument)
    values = settings.model_dump(exclude_unset=True)  # the environment speaks where they do not
    exposure = settings.exposure.model_dump() | (_OFF if config is None else {})
    exposure |= {name: value for option, (name, value) in _SWITCHES.items() if given[option]}
    numbers = {
        "max_stars": "max_n_stars",
        "max_radius": "max_zp_radius",
        "streak_time_limit": "streak_time_limit",
    }
    exposure |= {name: given[option] for name, option in numbers.items() if given[option] is not None}
    if given["dont_write_detrended"]:
        exposure["detrended"] = False
    drawn = {name for name in ("detrended", "streaks", "quiver") if given[f"plot_{name}"]}
    drawn |= {"detrended"} if "streaks" in drawn else set()
    kept = (p for p in exposure["pictures"] if not (p == "zp" and given["skip_checkplot"]))
    exposure["pictures"] = tuple(dict.fromkeys((*kept, *sorted(drawn))))
    if given["calibration"] is not None:
        values["masters"] = values.get("masters", {}) | {"folder": str(given["calibration"])}
    return validated(PointingSettings, values | {"exposure": exposure}, str(config or "options"))


def _gaia(given: Path | None, config: Path | None) -> Path | None:
    """Return the folder of Gaia's files that stands for the store: without settings there is no store."""
    from visql_lib.pipelines.pointing.settings import GAIA_VARIABLE

    folder = os.environ.get(GAIA_VARIABLE, "") if config is None else ""
    return Path(folder) if given is None and folder else given


def _tell(outcome: ExposureOutcome, worker: Any, science_name: str | None) -> None:
    """Publish an exposure; a server that is down is told, and no failure of the frame."""
    from visql_lib.pipelines.pointing.telemetry import publish_once

    publish_once(outcome, worker.instrument, worker.settings.telemetry, science_name)


def _line(outcome: ExposureOutcome) -> str:
    """Say in a line what was measured."""
    row = outcome.row
    if outcome.measured is None:
        return f"{outcome.stem}: {outcome.status.value}: {outcome.reason}"
    parts = ["no zero point", f"sky {row['SKY']:.2f} adu/s"]
    if math.isfinite(row["ZP"]):
        error = f" +- {row['ZP_ERR']:.3f}" if math.isfinite(row["ZP_ERR"]) else ""
        parts[0] = f"zero point {row['ZP']:.3f}{error} mag ({row['N_STARS']} stars)"
    if math.isfinite(row["MU"]):
        parts.append(f"{row['MU']:.2f} mag/arcsec2")
    parts.append("the dome stands in the way" if row["DOME"] else "no dome")
    doubt = f" ({outcome.reason})" if outcome.reason else ""
    return f"{outcome.stem}: {', '.join(parts)}{doubt}"
