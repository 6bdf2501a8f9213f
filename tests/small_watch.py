"""A watch of single frames with a tiny pipeline: the mean of a frame is its number. Also run as a program.

What goes wrong is asked for by files in the place: `slow` (s per frame), `die` (kill -9 between telling and
writing, once), `deaf` (nobody can be told).
"""

import io
import json
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from visql_lib.atomic import atomic_path
from visql_lib.errors import FrameError
from visql_lib.instruments.names import stem_of
from visql_lib.live.frame_by_frame import FrameByFrame
from visql_lib.live.frame_task import LiveOptions
from visql_lib.live.signals import StopSignals

SHAPE = (20, 30)
KILLS, HANGS, BROKEN, LATE_STARS = 666, 667, 668, 669  # means of frames with which something happens


def frame_bytes(value, shape=SHAPE):
    """A raw frame of one value."""
    return hdu_bytes(fits.PrimaryHDU(np.full(shape, value, np.int16)))


def hdu_bytes(*hdus):
    out = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(out)
    return out.getvalue()


def wcs_bytes():
    """A header alone, of two blocks."""
    header = fits.PrimaryHDU().header
    for k in range(40):
        header[f"A{k}"] = k
    return header.tostring().encode()


def put(folder, name, value, *, wcs=True, data=None):
    """Put a frame there, and what belongs to it."""
    path = folder / name
    path.write_bytes(frame_bytes(value) if data is None else data)
    if wcs:
        (folder / f"{stem_of(name)}.wcs").write_bytes(wcs_bytes())
    return path


@dataclass(frozen=True)
class Mean:
    value: float
    failure: str = ""
    doubt: str = ""
    again_after: float = 0.0
    is_unfinished: bool = True


class SmallTask:
    """Tells by adding a line to a file, writes the number of a frame into a folder of its own."""

    def __init__(self, place):
        self.place, self.told, self._waiting = Path(place), None, None

    def accepts(self, name):
        return name.startswith("f")

    def companion(self, path):
        return path.with_name(f"{stem_of(path.name)}.wcs")

    def order(self, path, changed):
        return float("".join(c for c in path.name if c.isdecimal()) or 0)

    def _folder(self, path):
        return self.place / "results" / "products" / stem_of(path.name)

    def stands(self, path):
        return (self.place / "standing").exists() and (self._folder(path) / "mean.txt").is_file()

    def measure(self, path):
        with (self.place / "measured").open("a") as file:
            file.write(f"{path.name}\n")
        if (slow := self.place / "slow").exists():
            time.sleep(float(slow.read_text()))
        if not self.companion(path).exists():
            return Mean(np.nan, f"{path}: no WCS")
        try:
            value = float(fits.getdata(path).mean())
        except (OSError, TypeError) as error:
            raise FrameError(f"{path}: {error}") from None
        if value == BROKEN:
            raise ZeroDivisionError("a defect of ours")
        again = 0.3 if value == LATE_STARS and not (self.place / "stars").exists() else 0.0
        return Mean(value, again_after=again)

    def tell(self, path, result, order):
        self._waiting = (path, result.value)
        self.tell_again()
        if (die := self.place / "die").exists():
            die.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._waiting is None

    def tell_again(self):
        if self._waiting is not None and not (self.place / "deaf").exists():
            with (self.place / "told").open("a") as file:
                file.write(f"{self._waiting[0].name} {self._waiting[1]:g} {time.time():.3f}\n")
            self.told, self._waiting = self._waiting[0], None

    def write(self, path, result):
        if result.failure:
            return None
        folder = self._folder(path)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / "mean.txt") as temporary:
            temporary.write_text(f"{result.value:g}\n" + "." * 20_000)
        return folder

    def troubles(self):
        return {"telling": "nobody listens" if self._waiting is not None else ""}

    def memory(self):
        return {"waiting": [str(self._waiting[0]), self._waiting[1]] if self._waiting else None}

    def recall(self, memory):
        if memory.get("waiting"):
            self._waiting = (Path(memory["waiting"][0]), memory["waiting"][1])


def make_finisher():
    return finish


def finish(path, folder):
    """What comes later: a file; some frames cost the process its life."""
    value = float(fits.getdata(path).mean())
    if value == KILLS:
        os.kill(os.getpid(), signal.SIGKILL)
    if value == HANGS:
        time.sleep(600)
    with atomic_path(folder / "later.txt") as temporary:
        temporary.write_text(f"{os.getpid()}\n")


def make_nothing():
    raise FrameError("no masters")


def options_of(place, **changes):
    place = Path(place)
    usual = {
        "poll": 0.05,
        "settle": 0.1,
        "patience": 0.6,
        "pause": 0.2,
        "suffixes": (".fits", ".fits.gz", ".fits.fz"),
        "folders": [place / "raw"],
        "results": place / "results",
    }
    return LiveOptions(**(usual | changes))


def watch_of(place, stop=None, finisher=make_finisher, **changes):
    task = SmallTask(place)
    return FrameByFrame(task, finisher, options_of(place, **changes), stop or StopSignals())


def main():
    """Watch; arguments: the place, and changed options (JSON)."""
    place, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
    if "veto_list" in changes:
        changes["veto_list"] = Path(changes["veto_list"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = StopSignals()
    with stop.listening():
        watch_of(place, stop, **changes).forever()


if __name__ == "__main__":
    # The process beside it must find `finish` under its name.
    import small_watch

    small_watch.main()
