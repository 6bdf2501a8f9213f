"""What a frame is read as, in lines for a person: each fact, its value, and who says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from visql_lib.errors import FrameError
from visql_lib.images.light_facts import CAMERA, LightFacts
from visql_lib.images.light_frame import OpenedLight, open_light, section_of
from visql_lib.instruments.model import Instrument
from visql_lib.values import MJD_ZERO, moment_of_days

Line = tuple[str, str, str]  # name, value with its unit, who says so
_UNKNOWN = "not known"


@dataclass(frozen=True)
class CheckedLight:
    """The lines about a frame, what is odd, and what it cannot be measured without."""

    path: Path
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def checked_light(path: Path, instrument: Instrument) -> CheckedLight:
    """Read the facts of a frame for a person.

    Raises
    ------
    FrameError
        If the file cannot be read as an image.
    """
    opened = open_light(path, instrument)
    missing = list(opened.facts.missing)
    lines = [*_of_image(opened, missing), *lines_of(opened.facts)]
    if not missing:
        try:
            light = opened.light()
        except FrameError as error:
            missing.append(str(error).removeprefix(f"{path}: "))
        else:
            lines.append(("bad pixels", f"{int(light.bad.sum())}", "no value, masked, or in a dead line"))
            lines.append(("saturated pixels", f"{int(light.saturated.sum())}", ""))
    return CheckedLight(path, tuple(lines), (*opened.facts.notes, *_without(opened.facts)), tuple(missing))


def _without(facts: LightFacts) -> Iterator[str]:
    """Say what a frame is measured without."""
    for name, value, what in (
        ("pixel_scale", facts.pixel_scale, "seeing is told in pixels only"),
        ("read_noise", facts.read_noise, "nothing needs it: the noise of the sky is measured"),
        ("saturation", facts.saturation, "no star is known to be saturated"),
    ):
        if value != value:
            yield f"no {name.replace('_', ' ')}: {what}"


def _of_image(opened: OpenedLight, missing: list[str]) -> list[Line]:
    """Return the lines about size, trim and flip."""
    imaging, (ny, nx) = opened.instrument.imaging, opened.image.data.shape
    extension = "first image of the file" if imaging.extension is None else f"extension {imaging.extension}"
    lines = [("image", f"{nx} x {ny} px", extension)]
    try:
        section = section_of(opened.image, opened.instrument)
    except FrameError as error:
        missing.append(str(error).removeprefix(f"{opened.path}: "))
        return lines
    x, y = (section.x0 + 1, section.x1), (section.y0 + 1, section.y1)
    kept = f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]"
    lines.append(("kept", kept, f"{CAMERA}: trim {imaging.trim}" if imaging.trim else ""))
    lines.append(("turned over", imaging.flip, f"{CAMERA}: flip" if imaging.flip != "none" else ""))
    return lines


def lines_of(facts: LightFacts) -> list[Line]:
    """Return the lines about the facts of a frame."""
    site = facts.site
    where = f"{site.longitude:.5f} deg east, {site.latitude:.5f} deg, {site.height:g} m" if site else ""
    values = {
        "time": _when(facts),
        "exptime": _number(facts.exptime, "s"),
        "filter": facts.filter,
        "gain": _number(facts.gain, "electron/adu"),
        "read_noise": _number(facts.read_noise, "electron"),
        "saturation": _number(facts.saturation, "adu"),
        "pedestal": _number(facts.pedestal, "adu"),
        "pixel_scale": _number(facts.pixel_scale, "arcsec/px"),
        "site": where,
    }
    lines = [
        (name.replace("_", " "), text or _UNKNOWN, facts.sources.get(name, "") if text else "")
        for name, text in values.items()
    ]
    return [*lines, ("type", facts.frame_type, "header"), ("object", facts.object or _UNKNOWN, "header")]


def _when(facts: LightFacts) -> str:
    date = moment_of_days(facts.mjd, MJD_ZERO)
    if date is not None:
        return (
            f"{date:%Y-%m-%dT%H:%M:%S}.{date.microsecond // 1000:03d} UTC (MJD {facts.mjd:.6f}), the middle"
        )
    return f"BJD {facts.bjd:.6f} (TDB), the middle" if facts.bjd == facts.bjd else ""


def _number(value: float, unit: str) -> str:
    return f"{value:.6g} {unit}" if value == value else ""
