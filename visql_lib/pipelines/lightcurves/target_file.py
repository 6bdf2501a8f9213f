"""The file of a target: where it is, in which frames, what it is made of, and what the user decided."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from visql_lib.config.load import digest, find_data_file, read_yaml, validated
from visql_lib.config.units import one_or_more, unfit_path
from visql_lib.errors import ConfigError
from visql_lib.instruments.model import Instrument, load_instrument
from visql_lib.pipelines.lightcurves.grouping import NAME

FOLDER = "config/targets"  # of the user's, below the working folder
AUTO = "auto"
TEST = ".test"  # ending of the name under which the frames of a target's test list are measured


def _angle(value: Any, name: str, unit: str) -> Any:
    """Return an angle in deg: numbers are deg, other texts sexagesimal in `unit` or in their own."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        pass
    from astropy.coordinates import Angle

    try:
        return float(Angle(value, unit).deg)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} {value!r} is neither degrees nor as 11:31:51.6 or -12:31:57") from error


class _Part(BaseModel):
    """A part of a target's file: unknown keys are refused; a name may be a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)


class Spot(_Part):
    """A place in a frame: one-based px, (1, 1) the centre of the first pixel."""

    x: float
    y: float


class PointSource(_Part):
    """Where a point source is.

    `x`, `y`: one-based px of the frame `Target.on`; or `east`, `north` of the target [arcsec].
    """

    x: float | None = None
    y: float | None = None
    east: float | None = None
    north: float | None = None

    @model_validator(mode="after")
    def _whole(self) -> PointSource:
        given = {name for name in ("x", "y", "east", "north") if getattr(self, name) is not None}
        if given not in ({"x", "y"}, {"east", "north"}):
            raise ValueError("needs x and y (px, one-based), or east and north (arcsec)")
        return self

    @property
    def on_sky(self) -> bool:
        """Whether its place is told on the sky, for which a frame with a WCS is needed."""
        return self.east is not None


class MarkedStar(Spot):
    """A comparison star of the user's choice, at px of the frame `on` ("": that of the target)."""

    name: str = Field(pattern=r"^[A-Za-z0-9]+$")
    on: str = ""


class MaskedSpot(Spot):
    """A circle in which no pixel of the target counts; `radius` in px of the frame `on`."""

    radius: float = Field(gt=0)
    on: str = ""


class GalaxyModel(_Part):
    """What is smooth under the point sources: an image of galaxy and ring, and the galaxy's core."""

    image: bool = True
    core: Literal["auto", "none"] | Spot = "auto"


class TargetSet(_Part):
    """Frames of one camera and one filter.

    Parameters
    ----------
    camera : str
        A name in config/instruments, or the path of an instrument file.
    raw : tuple of str
        Folders; subfolders are searched.
    filter : str
        Filter of its frames; others are left out. "": all.
    exptime : tuple of float, optional
        Smallest and largest exposure time [s] of its frames.
    """

    camera: str
    raw: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = Field(min_length=1)
    filter: str = ""
    exptime: tuple[float, float] | None = None

    @field_validator("raw")
    @classmethod
    def _fit(cls, raw: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [f"{folder!r} {reason}" for folder in raw if (reason := unfit_path(folder))]:
            raise ValueError(wrong[0])
        return raw

    @field_validator("exptime")
    @classmethod
    def _in_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] <= value[1]:
            raise ValueError("needs smallest and largest exposure time [s], in this order")
        return value


def _named(names: Mapping[str, Any], what: str) -> None:
    if wrong := [name for name in names if not re.fullmatch(NAME, name)]:
        raise ValueError(f"{wrong[0]!r} cannot be the name of {what}: letters, digits, _ . + -")


class Target(_Part):
    """All that a target's file says.

    Parameters
    ----------
    name : str
        Also the folder of its products.
    ra, dec : float
        ICRS [deg]; in the file also sexagesimal text, hours and degrees.
    sets : dict
        Its sets by name: each one camera and one filter.
    point_sources : dict
        Point sources by name; none given: one, A, at `ra`, `dec`.
    on : str
        The frame whose pixels the point sources are told in, AUTO for the reference.
    galaxy : GalaxyModel
        What is smooth under them.
    reference : str
        Name of the geometric reference frame, or AUTO.
    stars : "auto" or tuple of MarkedStar
        Comparison stars.
    masks : tuple of MaskedSpot
        Circles around the target that do not count.
    psf_sets : dict
        PSF stars by the name of the choice, the last available one wins; AUTO: as `stars` are chosen.
    fits : dict
        Several decompositions side by side, by name: settings of `scene`, `galaxy`, `sources`.
    kick, test : str
        Paths of lists of frames: to be left out, to try things on. "": none.
    """

    name: str = Field(pattern=rf"^{NAME}$")
    ra: float = Field(ge=0, lt=360)
    dec: float = Field(ge=-90, le=90)
    sets: dict[str, TargetSet] = Field(min_length=1)
    point_sources: dict[str, PointSource] = Field(default={}, validate_default=True)
    on: str = AUTO
    galaxy: GalaxyModel = GalaxyModel()
    reference: str = AUTO
    stars: Literal["auto"] | tuple[MarkedStar, ...] = "auto"
    masks: tuple[MaskedSpot, ...] = ()
    psf_sets: dict[str, Literal["auto"] | tuple[str, ...]] = Field(default={}, validate_default=True)
    fits: dict[str, dict[str, Any]] = {}
    kick: str = ""
    test: str = ""
    _file: str = PrivateAttr("")

    @model_validator(mode="before")
    @classmethod
    def _on_beside(cls, values: Any) -> Any:
        """Accept `on` among the point sources, too, where its pixels are."""
        sources = values.get("point_sources") if isinstance(values, dict) else None
        if isinstance(sources, dict) and isinstance(sources.get("on"), str | int | float):
            others = {name: place for name, place in sources.items() if name != "on"}
            return values | {"point_sources": others} | {"on": values.get("on", sources["on"])}
        return values

    @field_validator("name")
    @classmethod
    def _no_test(cls, name: str) -> str:
        if name.endswith(TEST):
            raise ValueError(f"{name!r} may not end with {TEST}: that is for its test list")
        return name

    @field_validator("ra", mode="before")
    @classmethod
    def _hours(cls, value: Any) -> Any:
        return _angle(value, "ra", "hourangle")

    @field_validator("dec", mode="before")
    @classmethod
    def _degrees(cls, value: Any) -> Any:
        return _angle(value, "dec", "deg")

    @field_validator("sets")
    @classmethod
    def _set_names(cls, sets: dict[str, TargetSet]) -> dict[str, TargetSet]:
        _named(sets, "a set")
        return sets

    @field_validator("point_sources")
    @classmethod
    def _source_names(cls, sources: dict[str, PointSource]) -> dict[str, PointSource]:
        _named(sources, "a point source")
        return sources or {"A": PointSource(east=0.0, north=0.0)}

    @field_validator("psf_sets")
    @classmethod
    def _psf_names(cls, sets: dict[str, Any]) -> dict[str, Any]:
        _named(sets, "a PSF set")
        if few := [name for name, stars in sets.items() if stars != AUTO and len(set(stars)) < 3]:
            raise ValueError(f"{few[0]!r} has fewer than 3 stars: they make no PSF")
        return sets or {AUTO: AUTO}

    @property
    def file(self) -> str:
        """The path of the file it was read from, "" for none."""
        return self._file

    def camera(self, name: str) -> Instrument:
        """Return the camera of a set.

        Raises
        ------
        ConfigError
            If its instrument file is wrong.
        """
        return load_instrument(self.sets[name].camera)

    def path_of(self, path: str) -> Path:
        """Find a path that the file names: from the working folder, or from the folder of the file."""
        beside = Path(self._file).parent / path if self._file else Path(path)
        found = beside if beside.exists() and not Path(path).exists() else Path(path)
        return Path(os.path.normpath(found))

    def raw_of(self, name: str) -> tuple[str, ...]:
        """List the folders of a set's raw frames, see `path_of`."""
        return tuple(str(self.path_of(folder)) for folder in self.sets[name].raw)

    def kicks(self) -> dict[str, str]:
        """Return the user's list of frames to be left out, with reasons; empty without a list."""
        return read_kicks(self.path_of(self.kick)) if self.kick else {}

    def test_frames(self) -> tuple[str, ...]:
        """Return the frames of the test list; empty without a list."""
        return tuple(read_kicks(self.path_of(self.test))) if self.test else ()

    def state(self, *parts: str) -> str:
        """Hash some parts of the file, for the parameters of rules that use only these."""
        return digest(self.model_dump(mode="json", include=set(parts)))


def read_kicks(path: Path) -> dict[str, str]:
    """Read a list of frames: name, blank, reason; lines beginning with # are comments.

    Returns
    -------
    dict
        Name of the frame (without the ending of its file) -> reason, "" where none is given.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: list of frames cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: list of frames is not in UTF-8; save it as UTF-8") from error
    found = {}
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            name, _, reason = line.replace("\t", " ").partition(" ")
            found[name] = reason.strip()
    return found


def find_target(name: str) -> Path:
    """Return the path of a target's file: a path, or a name in config/targets (the user's, then VISQL's).

    Raises
    ------
    ConfigError
        If there is none; the message lists the names there are.
    """
    own = Path(FOLDER) / f"{name}.yaml"
    if "/" not in name and own.is_file():
        return own
    try:
        return find_data_file("targets", name)
    except ConfigError as error:
        known = sorted(path.stem for path in Path(FOLDER).glob("*.yaml"))
        more = f" ({FOLDER} holds {', '.join(known)})" if known else ""
        raise ConfigError(f"{error}{more}") from None


def known_targets() -> list[str]:
    """List the paths of all target files of config/targets: the user's folder, else VISQL's."""
    folders = (Path(FOLDER), Path(__file__).resolve().parents[3] / FOLDER)
    found = next((paths for folder in folders if (paths := sorted(folder.glob("*.yaml")))), [])
    return [str(path) for path in found]


def load_target(name: str | Path) -> Target:
    """Read the file of a target: a name in config/targets, or a path.

    Raises
    ------
    ConfigError
        If there is none, or with one line per wrong entry; unknown keys are refused.
    """
    path = find_target(str(name))
    return _read(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: str, _mtime: int) -> Target:
    target = validated(Target, read_yaml(Path(path), words=True), path)
    target._file = path
    return target
