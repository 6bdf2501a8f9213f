"""`visql pointing-telemetry`: what the last exposure told."""

from __future__ import annotations

import time
from pathlib import Path

import click

from visql_lib.cli.pointing_common import pointing_step


@pointing_step(
    "pointing-telemetry",
    """Print the fields of the last exposure that was told to the Redis server, and how long ago it began.

    Exits with 1 if there is no server, or nothing was told to it.""",
    "visql pointing-telemetry --config config/pointing.yaml",
)
def command(config: Path | None, instrument: str | None) -> int:
    """Ask, print."""
    from visql_lib.archives.errors import SourceError
    from visql_lib.cli.pointing_common import pointing_settings_of
    from visql_lib.pipelines.pointing.telemetry import server_of

    settings = pointing_settings_of(config, instrument)
    server = server_of(settings.telemetry)
    if server is None:
        raise SourceError("no telemetry server: set telemetry.host, or REDISHOST")
    told = server.client.get(server.key)
    if not told:
        raise SourceError(f"{server.client.name}: nothing is told under {server.key!r}")
    width = max(len(name) for name in (*told, "age"))
    for name in sorted(told):
        click.echo(f"{name:{width}}  {told[name]}")
    click.echo(f"{'age':{width}}  {_age(told.get('mjd_obs', ''))}")
    return 0


def _age(mjd: str) -> str:
    """Say how long ago an exposure began."""
    from visql_lib.live.heartbeat import ago
    from visql_lib.pipelines.pointing.telemetry import unix_of
    from visql_lib.values import number

    now = time.time()
    seconds = now - unix_of(number(mjd), float("inf"))
    return ago(seconds) if seconds > -float("inf") else "not known"
