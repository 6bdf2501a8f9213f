"""Frames of a guide camera that arrive one by one: how long until each is told.

    python benchmarks/live.py config/demo_pointing.yaml --output demo_pointing/live

Starts a redis-server of its own and `visql pointing-watch`, copies frames with pauses into an empty folder,
as a camera writes them (the frame in parts, then its .wcs), and measures the time from the complete frame to
the update in Redis.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import yaml

_CHUNK = 1 << 20


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def deliver(frame: Path, folder: Path) -> float:
    """Copy a frame in parts and then its WCS; return when it was complete."""
    with frame.open("rb") as source, (folder / frame.name).open("wb") as target:
        while part := source.read(_CHUNK):
            target.write(part)
            target.flush()
    wcs = frame.with_suffix(".wcs")
    if wcs.is_file():
        shutil.copyfile(wcs, folder / wcs.name)
    return time.time()


def told(client, key: str, frame: Path, since: float, limit: float) -> float:
    """Wait until the update of a frame is in Redis; return the elapsed time [s], infinite if it never is."""
    stamp = stamp_of(frame)
    while time.time() - since < limit:
        if client.hget(key, "timestamp") == stamp:
            return time.time() - since
        time.sleep(0.01)
    return float("inf")


def stamp_of(frame: Path) -> str:
    """The field `timestamp` of a frame, from its header alone."""
    from astropy.io import fits

    header = fits.getheader(frame)
    return f"{header['DATE'].replace('/', '-')}/{header['TIME']}/MST/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--pause", type=float, default=4.0)
    parser.add_argument("--json", type=Path, help="Write the figures there.")
    given = parser.parse_args()
    import redis

    if shutil.which("redis-server") is None:
        print(
            "redis-server is not installed (Debian: apt-get install redis-server); the live part is skipped"
        )
        return
    settings = yaml.safe_load(given.config.read_text())
    raw, port = given.output / "raw", free_port()
    raw.mkdir(parents=True, exist_ok=True)
    settings |= {"raw": str(raw), "results": str(given.output / "results")}
    settings["telemetry"] = {"host": "127.0.0.1", "port": port, "key": "guide", "stream": "guide_stream"}
    live = given.output / "live.yaml"
    live.write_text(yaml.safe_dump(settings))
    source = Path(yaml.safe_load(given.config.read_text())["raw"])
    frames = [f for f in sorted(source.rglob("*.fits")) if f.with_suffix(".wcs").is_file()]
    from astropy.io import fits

    frames = [f for f in frames if fits.getval(f, "ZPFLAG") != 1][: given.frames]
    server = subprocess.Popen(
        [
            "redis-server",
            "--port",
            str(port),
            "--save",
            "",
            "--bind",
            "127.0.0.1",
            "--dir",
            str(given.output),
        ],
        stdout=subprocess.DEVNULL,
    )
    with (given.output / "watch.log").open("w") as log:
        watch = subprocess.Popen(
            [str(Path(sys.executable).with_name("visql")), "pointing-watch", "--config", str(live)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        client = redis.Redis(port=port, decode_responses=True)
        times = []
        for number, frame in enumerate(frames):
            taken = told(client, "guide", frame, deliver(frame, raw), 60.0)
            print(f"{frame.name}: told after {taken:.2f} s" + (" (the first one)" if number == 0 else ""))
            times.append(taken)
            if watch.poll() is not None:
                raise SystemExit(f"the watch ended; see {given.output / 'watch.log'}")
            time.sleep(max(given.pause - taken, 0.0))
        last = client.hgetall("guide")
    finally:
        watch.terminate()
        watch.wait(60)
        server.terminate()
        server.wait(30)
    warm = times[1:] or times
    print(f"{len(last)} fields in Redis: " + ", ".join(f"{k} {v}" for k, v in sorted(last.items())))
    print(f"from a complete frame to Redis: median {statistics.median(warm):.2f} s, worst {max(warm):.2f} s")
    if given.json:
        given.json.write_text(json.dumps({"seconds": times}))
    if len(last) != 21 or max(times) == float("inf"):
        raise SystemExit("not every frame was told")


if __name__ == "__main__":
    main()
