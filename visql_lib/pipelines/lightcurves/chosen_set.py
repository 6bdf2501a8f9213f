"""The set and the camera that a command is asked for."""

from __future__ import annotations

from typing import NamedTuple

from visql_lib.errors import RequestError
from visql_lib.instruments.model import Instrument, load_instrument
from visql_lib.pipelines.lightcurves.target_file import Target, load_target

GENERIC = "generic"  # camera of frames of which nobody says more


class ChosenSet(NamedTuple):
    """A camera, and the target and set that it is of; None and "" without a target."""

    camera: Instrument
    target: Target | None = None
    set: str = ""


def chosen_camera(target: str | None, set_name: str | None, camera: str | None = None) -> ChosenSet:
    """Find the camera of a set, or the one that is named.

    Parameters
    ----------
    target : str, optional
        Name or path of a target's file.
    set_name : str, optional
        Set of the target; None: the only one.
    camera : str, optional
        Without a target: name or path of a camera's file; None: generic.

    Raises
    ------
    RequestError
        If the target has no such set, or several and none is named.
    ConfigError
        If a file is missing or wrong.
    """
    if target is None:
        return ChosenSet(load_instrument(camera or GENERIC))
    if camera is not None:
        raise RequestError("--camera: the camera is that of the target's set; write it into its file")
    aim = load_target(target)
    name = _set_of(list(aim.sets), set_name, target)
    return ChosenSet(aim.camera(name), aim, name)


def target_with(target: str, set_name: str) -> Target:
    """Read the file of a target that must have a set.

    Raises
    ------
    RequestError
        If it has no such set.
    ConfigError
        If the file is missing or wrong.
    """
    aim = load_target(target)
    _set_of(list(aim.sets), set_name, target)
    return aim


def _set_of(sets: list[str], wanted: str | None, target: str) -> str:
    if wanted is None and len(sets) == 1:
        return sets[0]
    if wanted not in sets:
        said = "it has several sets; name one" if wanted is None else f"{wanted!r} is none of its sets"
        raise RequestError(f"--set: target {target}: {said}: {', '.join(sets)}")
    return wanted
