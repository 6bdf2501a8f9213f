"""The titles of pictures of a frame: its name, how long and when it was exposed, and what is odd about it."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import NDArray

from visql_lib.values import MJD_ZERO, moment_of_days


def title_of(stem: str, sky: Mapping[str, NDArray], *facts: str) -> str:
    """Write the title of a picture of a frame.

    Parameters
    ----------
    stem : str
        Name of the frame.
    sky : mapping of arrays
        Its row of the table SKY: exposure time, start, dome.
    facts : str
        More, such as the projection; "" is left out.
    """
    start = moment_of_days(float(sky["mjd_obs"][0]), MJD_ZERO)
    when = f"{start:%Y-%m-%d %H:%M:%S} UTC" if start is not None else "time not known"
    dome = "dome in the way" if sky["has_dome"][0] else ""
    return ", ".join([stem, f"{float(sky['time_seconds'][0]):g} s", when, *filter(None, (dome, *facts))])
