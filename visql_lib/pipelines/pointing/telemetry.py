"""Telemetry: what of an exposure is told to a Redis server, and in which order."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visql_lib.archives.errors import SourceError
from visql_lib.archives.redis_hash import RedisHash, Value, built_in
from visql_lib.errors import ConfigError
from visql_lib.pipelines.pointing.settings import TelemetrySettings

if TYPE_CHECKING:
    from visql_lib.instruments.model import Instrument
    from visql_lib.pipelines.pointing.exposure import ExposureOutcome
    from visql_lib.pipelines.pointing.frame import GuideFrame
    from visql_lib.pipelines.pointing.measure import MeasuredFrame

log = logging.getLogger(__name__)

KEY, KEY_TCS = "pointing_camera", "tcs"
TRACKING = "tracking"  # field of the telescope's hash; 0: it does not track
QUADRANTS = (1, 2, 3, 4)
_DAY, _EPOCH = 86400.0, 40587  # s; MJD of 1970
_AHEAD = 1.0  # d that the clock of a camera may be ahead: a later exposure keeps no other from being told
_AT_ONCE = 200  # entries of the stream in one update
_ENVIRONMENT = {
    "host": "REDISHOST",
    "port": "REDISPORT",
    "db": "REDISDBNUM",
    "key": "REDISKEY",
    "key_tcs": "REDISKEY_TCS",
}


# --- the server ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TelemetryServer:
    """A server, and the keys on it."""

    client: RedisHash
    key: str
    key_tcs: str
    stream: str
    stream_length: int


def server_of(
    settings: TelemetrySettings, environment: Mapping[str, str] | None = None
) -> TelemetryServer | None:
    """Return the server of the settings; None if neither they nor the environment name one.

    Parameters
    ----------
    settings : TelemetrySettings
        What they do not set is looked up in the environment: REDISHOST, REDISPORT, REDISDBNUM, REDISKEY,
        REDISKEY_TCS.
    environment : mapping, optional
        In the place of that of the process.

    Raises
    ------
    ConfigError
        If a variable is wrong, or the package ``redis`` is not installed.
    """
    said = os.environ if environment is None else environment
    values: dict[str, Any] = settings.model_dump()
    for name, variable in _ENVIRONMENT.items():
        is_set = bool(values[name]) if isinstance(values[name], str) else name in settings.model_fields_set
        if not is_set and (text := said.get(variable, "").strip()):
            values[name] = _number(variable, text) if name in ("port", "db") else text
    if not values["host"]:
        return None
    client = RedisHash(values["host"], values["port"], values["db"], values["timeout"])
    keys = values["key"] or KEY, values["key_tcs"] or KEY_TCS
    return TelemetryServer(client, *keys, values["stream"], values["stream_length"])


def _number(variable: str, text: str) -> int:
    highest = 65535
    if not text.isdecimal() or (variable == "REDISPORT" and not 0 < int(text) <= highest):
        raise ConfigError(f"{variable}: {text!r} is no number that it can have; correct it, or unset it")
    return int(text)


# --- the fields ---------------------------------------------------------------------------------------


def fields(
    frame: GuideFrame, measured: MeasuredFrame, instrument: Instrument, science_name: str | None = None
) -> dict[str, Value]:
    """Return the fields of an exposure: always the same 21, so that nothing of an older one stays.

    Parameters
    ----------
    frame : GuideFrame
        Its start, UTC.
    measured : MeasuredFrame
        Zero points, those of the standard aperture are told [mag]; sky, of which medians are told [adu/s].
    instrument : Instrument
        Its clock, and the name of the science field, the ending of three fields.
    science_name : str, optional
        In the place of that name.

    Returns
    -------
    dict
        Text and plain numbers; NaN: not known, 0 stars: no zero point.
    """
    guide, zero_points, sky = instrument.guide, measured.zeropoints, measured.sky
    end = f"_{science_name or guide.science_name}"
    found: dict[str, object] = {"timestamp": _timestamp(frame, instrument), "mjd_obs": frame.mjd}
    regions = [("", 0, False), *((f"_q{q}", q, False) for q in QUADRANTS), (end, 0, True)]
    for name, quadrant, science in regions:
        row = _row(zero_points, guide.standard_aperture, quadrant, science)
        found[f"zp_adu_per_s{name}"] = zero_points["zp_adu_per_s"][row]
        found[f"n_stars_for_zp{name}"] = zero_points["n_sources_for_zp"][row]
        region = "_sci" if science else f"_quad{quadrant}" if quadrant else ""
        found[f"sky_adu_per_s{name}"] = sky[f"median_adu{region}_per_s"][0]
    found["flag"] = bool(sky["has_dome"][0])
    return {name: built_in(value) for name, value in found.items()}


def _row(zero_points: Mapping[str, Any], standard: int, quadrant: int, science: bool) -> int:
    """Find the row of a region in the standard aperture; where only one is made, it has the index 0."""
    indices = np.asarray(zero_points["aper_ind"])
    wanted = indices == (standard if standard in indices else 0)
    wanted &= np.asarray(zero_points["quadrant"]) == quadrant
    wanted &= np.asarray(zero_points["science_fov_only"]) == science
    return int(np.flatnonzero(wanted)[0])


def _timestamp(frame: GuideFrame, instrument: Instrument) -> str:
    """Return the local start as those write it who read it, "" if it is not known."""
    if frame.start is None:
        return ""
    local = frame.start.astimezone(instrument.header.date.clock)
    return f"{local:%Y-%m-%d/%H:%M:%S}/{instrument.guide.time_zone_name}/"


# --- who is told when ---------------------------------------------------------------------------------


class Publisher:
    """Tells exposures to the server: the newest wins, and no older one is told after it.

    An exposure that cannot be told is kept until the server is back, or until a newer one comes.

    Attributes
    ----------
    trouble : str
        Why the server cannot be told at present, "" if it can or was not asked.
    told : str
        The exposure that was told last, "" if none was.
    """

    def __init__(self, server: TelemetryServer) -> None:
        self._server = server
        self.trouble = self.told = ""
        self._newest = -math.inf  # MJD of what was told, or waits to be
        self._waiting: tuple[str, dict[str, Value]] | None = None
        self._stream: deque[dict[str, Value]] = deque(maxlen=server.stream_length)

    @property
    def waits(self) -> str:
        """The name of the exposure that waits to be told, "" if none does."""
        return self._waiting[0] if self._waiting is not None else ""

    @property
    def is_behind(self) -> bool:
        """Whether anything waits to be told."""
        return self._waiting is not None or bool(self._stream)

    def publish(self, name: str, values: Mapping[str, Value], when: float, *, at_once: bool = True) -> bool:
        """Tell an exposure, unless a newer one was told before or waits.

        Parameters
        ----------
        name : str
            Of the exposure.
        values : mapping
            See `fields`.
        when : float
            MJD by which exposures are ordered.
        at_once : bool, optional
            If not, it is kept for `again`: the server has just failed.

        Returns
        -------
        bool
            Whether nothing waits to be told any more.
        """
        if self._server.stream:
            self._stream.append(dict(values))
        if when >= self._newest:
            self._waiting = (name, dict(values))
            if when <= time.time() / _DAY + _EPOCH + _AHEAD:
                self._newest = when
        return self.again() if at_once else not self.is_behind

    def again(self) -> bool:
        """Tell what waits; returns whether nothing does any more."""
        values = self._waiting[1] if self._waiting is not None else {}
        entries = list(self._stream)[:_AT_ONCE]
        if not values and not entries:
            return True
        server = self._server
        try:
            server.client.set(server.key, values, server.stream, entries, server.stream_length)
        except SourceError as error:
            self.trouble = str(error)
            return False
        self.told = self.waits or self.told
        self.trouble, self._waiting = "", None
        for _ in entries:
            self._stream.popleft()
        return not self._stream

    # What outlives the process

    def memory(self) -> dict[str, Any]:
        """Return what a later process must know, as plain values."""
        waiting = None
        if self._waiting is not None:
            waiting = [self._waiting[0], _plain(self._waiting[1])]
        newest = self._newest if math.isfinite(self._newest) else None
        return {"newest": newest, "waiting": waiting, "stream": [_plain(v) for v in self._stream]}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take over what an earlier process knew; what cannot be understood is left out."""
        newest, waiting, entries = (memory.get(key) for key in ("newest", "waiting", "stream"))
        if isinstance(newest, int | float):
            self._newest = float(newest)
        if isinstance(waiting, list) and len(waiting) == 2 and isinstance(waiting[1], dict):
            self._waiting = (str(waiting[0]), waiting[1])
        if self._server.stream and isinstance(entries, list):
            self._stream.extend(entry for entry in entries if isinstance(entry, dict))


def _plain(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return values for a file: a number that is none is the text that the server would have."""
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def order_of(mjd: float, changed: float) -> float:
    """Return the MJD by which an exposure is ordered: its start, else when its file was changed [s, unix]."""
    return mjd if math.isfinite(mjd) else changed / _DAY + _EPOCH


def unix_of(mjd: float, changed: float) -> float:
    """Return the start of an exposure [s since 1970], else when its file was changed."""
    return (mjd - _EPOCH) * _DAY if math.isfinite(mjd) else changed


def publish_once(
    outcome: ExposureOutcome,
    instrument: Instrument,
    settings: TelemetrySettings,
    science_name: str | None = None,
) -> bool:
    """Tell a single exposure, whatever was told before; returns whether the server took it.

    Raises
    ------
    ConfigError
        If no server is named, or the package ``redis`` is not installed.
    """
    server = server_of(settings)
    if server is None:
        raise ConfigError("no telemetry server: set telemetry.host, or REDISHOST")
    if outcome.frame is None or outcome.measured is None:
        return False
    publisher = Publisher(server)
    values = fields(outcome.frame, outcome.measured, instrument, science_name)
    if not publisher.publish(outcome.stem, values, math.inf):
        log.warning("%s: not told: %s", outcome.stem, publisher.trouble)
        return False
    return True


def tracks(server: TelemetryServer) -> bool | None:
    """Ask whether the telescope tracks; None if that is not known.

    Raises
    ------
    SourceError
        If the server does not answer.
    """
    said = server.client.field(server.key_tcs, TRACKING)
    try:
        return None if said is None else float(said) != 0
    except ValueError:
        return {"true": True, "false": False}.get(said.strip().lower()) if said is not None else None
