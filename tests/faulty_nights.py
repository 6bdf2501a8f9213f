"""Nights of CCD frames with one fault of each kind, and their commands called one after the other in one process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.io import fits
from click.testing import CliRunner

from visql_lib.cli import cli
from visql_lib.errors import VisqlError
from visql_lib.pipelines import load_settings, make_plan
from visql_lib.pipelines.reduction.plan import ReductionPlan
from visql_lib.simulate.night import SimulatedNight
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.tables.store import read_table

NIGHT = "20210227"
PLAN = {
    "seed": 3,
    "dialect": "observatory",
    "camera": {"columns": 256, "rows": 192},
    "sky": {"targets": ["M67"], "stars": 60, "flip": False},
    "frames": {
        "biases": 4,
        "dark_times": [60.0, 120.0],
        "darks": 3,
        "odd_dark": False,
        "filters": ["V"],
        "flats": 3,
        "lights": 3,
    },
}
LONG_AGO = time.time() - 2 * 3600


@cache
def frames(seed: int = 3) -> Mapping[str, list[fits.PrimaryHDU]]:
    """Return the raw frames of a good night, by type; never change them."""
    found: dict[str, list[fits.PrimaryHDU]] = {}
    for made in SimulatedNight(NightOptions.model_validate(PLAN | {"seed": seed})).made():
        found.setdefault(made.frame.type, []).append(made.hdus[0])
    return found


def frame(kind: str, i: int = 0, seed: int = 3, date: str = "2021-02-27", **cards: Any) -> fits.PrimaryHDU:
    """Return a copy of a frame with other cards; None: without that card."""
    good = frames(seed)[kind][i]
    header = good.header.copy()
    header["DATE-OBS"] = date
    for name, value in cards.items():
        key = name.replace("_", "-")
        if value is None:
            header.remove(key, ignore_missing=True)
        else:
            header[key] = value
    return fits.PrimaryHDU(good.data.copy(), header)


def with_pixels(hdu: fits.PrimaryHDU, change: Callable[[np.ndarray], np.ndarray]) -> fits.PrimaryHDU:
    """Return a frame with other pixels, stored as they are."""
    header = hdu.header.copy()
    for key in ("BSCALE", "BZERO"):
        header.remove(key, ignore_missing=True)
    return fits.PrimaryHDU(change(hdu.data), header)


class Nights:
    """A folder with raw frames and settings, and what one does in it."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path, self.raw, self.results = path, path / "raw", path / "results"
        self.raw.mkdir(parents=True, exist_ok=True)
        self.config = path / "c.yaml"
        self.said = ""
        self.configure(**settings)

    def configure(self, **settings: Any) -> None:
        """Write the settings."""
        given = {"pipeline": "reduction", "raw": str(self.raw), "results": str(self.results)}
        given |= {"index": {"growing_age": 3600}, "reduce": {"chunk": 4}}
        self.config.write_text(yaml.safe_dump(given | settings))

    def add(self, name: str, hdu: fits.PrimaryHDU | bytes | None = None) -> Path:
        """Write a raw frame, two hours old."""
        path = self.raw / name
        if isinstance(hdu, bytes):
            path.write_bytes(hdu)
        elif hdu is not None:
            hdu.writeto(path, output_verify="silentfix")
        os.utime(path, (LONG_AGO, LONG_AGO))
        return path

    def add_good(self, kinds: str = "BDFS", date: str = "2021-02-27", most: int = 9, seed: int = 3) -> None:
        """Write the good frames of some types: B, D, F, S."""
        day = date.replace("-", "")
        for kind, some in frames(seed).items():
            for i in range(min(len(some), most)) if kind[0] in kinds else ():
                self.add(f"{kind.lower()}-{day}-{i}.fit", frame(kind, i, seed, date))

    def plan(self) -> ReductionPlan:
        """Index the raw folder."""
        plan = make_plan(load_settings(self.config), refresh=True)
        assert isinstance(plan, ReductionPlan)
        return plan

    def visql(self, *words: Any, code: int = 0) -> str:
        """Run a command with the settings; return what it says, with its log."""
        done = CliRunner().invoke(
            cli, [*map(str, words), "--config", str(self.config)], standalone_mode=False
        )
        said = done.output
        if isinstance(done.exception, VisqlError):
            said += str(done.exception)
            assert done.exception.exit_code == code, said
        elif done.exception is not None:
            raise done.exception
        else:
            assert (done.return_value or 0) == code, said
        self.said += said
        return said

    def run(self) -> None:
        """Call all commands of the nights, as the rules do."""
        plan = self.plan()
        for date in plan.groups():
            for words in commands(plan, date):
                self.visql(*words)

    def table(
        self, date: str = NIGHT, kind: str = "frames", key: str = "EXPOSURE"
    ) -> dict[str, dict[str, Any]]:
        """Read a table of a night, as rows by their name."""
        table = read_table(self.results / "nights" / date / f"{kind}_{date}.parquet")
        names = [str(name) for name in table[key]]
        return {name: {k: table[k][i] for k in table} for i, name in enumerate(names)}

    def states(self, date: str = NIGHT) -> dict[str, tuple[str, str]]:
        """Return status and reason of each frame of a night."""
        return {n: (str(r["STATUS"]), str(r["REASON"])) for n, r in self.table(date).items()}


def commands(plan: ReductionPlan, date: str) -> Iterator[list[str]]:
    """Yield the commands of a night, in the order of what they need."""
    night, words = plan.nights[date], plan.words_of(date)
    for kind in ("bias", "dark", "flat"):
        for name in words[kind]:
            table, picture = night.master(name, ".parquet"), night.master(name, ".png")
            outputs = ["-o", night.master(name), "--table", table, "--picture", picture]
            yield [
                f"master-{kind}",
                *plan.frames(date, name),
                *outputs,
                *plan.master_options(date, name),
                FAIL,
            ]
    for name in words["pixels"]:
        outputs = ["-o", night.master(name), "--picture", night.master(name, ".png")]
        yield ["bad-pixels", *plan.pixel_options(date, name), *outputs, FAIL]
    for name in words["chunk"]:
        folder, table = str(Path(night.chunk_table(name)).parent), night.chunk_table(name)
        yield [
            "reduce",
            *plan.frames(date, name),
            "-o",
            folder,
            "--table",
            table,
            *plan.master_options(date, name),
        ]
    for name in words["stack"]:
        registration = night.stack(name, "_registration.parquet")
        yield ["register", *plan.chunk_tables(date, name), "-o", registration]
        outputs = ["-o", night.stack(name), "--picture", night.stack(name, ".png"), FAIL]
        yield ["stack", *plan.chunk_tables(date, name), "--registration", registration, *outputs]
    folder = Path(night.master("x")).parents[1]
    tables = {kind: str(folder / f"{kind}_{date}.parquet") for kind in ("frames", "masters", "stacks")}
    outputs = [word for kind, path in tables.items() for word in (f"--{kind}", path)]
    sheet = str(Path(plan.results) / f"exposures/{date}.tsv")
    yield ["night-tables", sheet, *outputs, *plan.lacking_options(date)]
    (judged,) = plan.paths("qc", date)
    yield ["qc", sheet, "-o", judged]


FAIL = "--record-failure"


def many_faults(nights: Nights) -> None:
    """Write a night with one fault of each kind among good frames."""
    nights.add_good()
    date = "2021-02-27"
    light = frame("SCIENCE", 0)
    small = with_pixels(light, lambda d: d[:96])
    for key in ("TRIMSEC", "BIASSEC"):
        small.header[key] = light.header[key].replace("192", "96")
    later = iter(range(10, 60))

    def add(name: str, hdu: fits.PrimaryHDU, keep: bool = False) -> Path:
        hdu.header["UT"] = None if keep else f"21:{next(later):02d}:00"
        if keep:
            del hdu.header["UT"]
        return nights.add(name, hdu)

    def other(i: int = 0, **cards: Any) -> fits.PrimaryHDU:
        """A light of its own pixels."""
        hdu = frame("SCIENCE", i % 3, **cards)
        hdu.data[:] = np.roll(hdu.data, 1, axis=0)
        return hdu

    add("time-none.fit", other(EXPTIME=None))
    add("time-zero.fit", other(1, EXPTIME=0.0))
    add("time-negative.fit", other(2, EXPTIME=-5.0))
    add("no-date.fit", other(DATE_OBS=None), keep=True)
    whole = add("cut.fit", other())
    nights.add("cut.fit", whole.read_bytes()[:40000])
    nights.add("text.fit", b"no FITS at all\n")
    nights.add("nothing.fit", b"")
    add("packed.fits.gz", with_pixels(other(1), lambda d: d + np.uint16(1)))
    tiles = fits.CompImageHDU(frame("SCIENCE", 2).data + np.uint16(1), frame("SCIENCE", 2).header)
    tiles.header["UT"] = "21:50:00"
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(nights.raw / "tiles.fits.fz")
    nights.add("tiles.fits.fz")
    add(
        "no-image.fit",
        fits.PrimaryHDU(None, fits.Header({"DATE-OBS": date, "IMAGETYP": "object", "EXPTIME": 60.0})),
    )
    flat = fits.Header({"SIMPLE": True, "BITPIX": 16, "NAXIS": 2, "NAXIS1": 0, "NAXIS2": 0})
    flat.update({"DATE-OBS": f"{date}T21:00:00", "IMAGETYP": "object", "EXPTIME": 60.0})
    nights.add("zero-by-zero.fit", flat.tostring(padding=True).encode())
    add("bayer.fit", other(BAYERPAT="RGGB"))
    add("other-field.fit", frame("SCIENCE", 1, seed=8))
    add(
        "no-stars.fit",
        with_pixels(other(), lambda d: np.random.default_rng(1).normal(1500, 10, d.shape).astype("u2")),
    )
    add("floats.fit", with_pixels(other(1), lambda d: d.astype("f4")))
    broken = with_pixels(other(2), lambda d: d.astype("f4"))
    broken.data[20:40] = np.nan
    add("nan.fit", broken)
    blank = with_pixels(other(0), lambda d: d.astype("i4"))
    blank.data[20:40] = -32768
    blank.header["BLANK"] = -32768
    add("blank.fit", blank)
    add("all-nan.fit", with_pixels(other(2), lambda d: np.full(d.shape, np.nan, "f4")))
    add("pedestal.fit", with_pixels(frame("SCIENCE", 1, PEDESTAL=-100), lambda d: d + np.uint16(100)))
    add("bits12.fit", with_pixels(other(1), lambda d: d // 16 * 16))
    add("bias-of-60-s.fit", frame("BIAS", 0, seed=4, EXPTIME=60.0))
    add("dark-of-0-s.fit", frame("DARK", 0, seed=4, EXPTIME=0.0))
    add("dark-like-bias.fit", frame("BIAS", 1, IMAGETYP="dark", OBJECT="dark", EXPTIME=60.0))
    add("half.fit", small)
    add("binned.fit", with_pixels(other(CCDSUM="2 2"), lambda d: d + np.uint16(2)))
    add("gain.fit", with_pixels(other(GAIN=3.0), lambda d: d + np.uint16(3)))
    add("twice.fit", frame("SCIENCE", 1))
    add("old-master.fit", frame("BIAS", 2, IMAGETYP="master bias", NCOMBINE=20))
    add("halpha.fit", other(FILTERS="Halpha"))
    for i in range(3):
        add(
            f"flat-I-{i}.fit",
            with_pixels(frame("FLAT", i, FILTERS="I"), lambda d, i=i: np.full(d.shape, 65535 - i, "u2")),
        )
    add("light-I.fit", other(FILTERS="I"))
    for i, name in enumerate(
        (
            "a,b.fit",
            " M67 V.fit",
            'it\'s "q".fit',
            "über α.fit",
            "$HOME;x.fit",
            "[1]*.fit",
            "@x.fit",
            "!x.fit",
            "-x.fit",
        )
    ):
        add(name, with_pixels(other(i), lambda d, i=i: d + np.uint16(10 + i)))
    add("braces{x}.fit", other())
    add(
        "path.fit",
        with_pixels(other(FILTERS="../../x", OBJECT="../../../etc/\"p'"), lambda d: d + np.uint16(30)),
    )
    long = {"FILTERS": "F" * 60, "OBJECT": "O" * 60}
    add("long.fit", with_pixels(other(**long), lambda d: d + np.uint16(40)))
    add("long-2.fit", with_pixels(other(**long, GAIN=2.0), lambda d: d + np.uint16(41)))
    add("bin-text.fit", with_pixels(other(CCDSUM="two"), lambda d: d + np.uint16(50)))
    add("wcs-text.fit", with_pixels(other(CRPIX1="x"), lambda d: d + np.uint16(51)))
    add("section-beyond.fit", with_pixels(other(TRIMSEC="[1:300,1:192]"), lambda d: d + np.uint16(52)))
    add("<b>.fit", other())
    add(f"{'n' * 200}.fit", other())
    add("<B>50%#?&.fit", with_pixels(other(), lambda d: d + np.uint16(53)))
    (nights.raw / "tiles-cut.fits.fz").write_bytes((nights.raw / "tiles.fits.fz").read_bytes()[:20000])
    nights.add("tiles-cut.fits.fz")
    growing = add("growing.fit", other())
    os.utime(growing)


def other_nights(nights: Nights) -> None:
    """Write nights without biases, darks or flats, with one frame of a kind, and with nothing to use."""
    nights.add_good("DFS", "2020-05-01")
    nights.add_good("BFS", "2020-07-01")
    nights.add_good("BDS", "2020-09-01")
    nights.add_good("BDFS", "2020-11-01", most=1)
    nights.add("science.fit", frame("SCIENCE", date="2020-12-31", BAYERPAT="RGGB"))
    cut = nights.add("only-cut.fit", frame("SCIENCE", date="2021-01-15"))
    nights.add("only-cut.fit", cut.read_bytes()[:50000])
