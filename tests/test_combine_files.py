"""`visql combine`: files of any kind, header records, groups, refusals, memory."""

import math
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal

from visql_lib.cli import cli
from visql_lib.errors import RequestError, VisqlError
from visql_lib.flags import PixelFlag
from visql_lib.tables.provenance import read_record

CARDS = {"EXPTIME": 10.0, "FILTER": "R", "BUNIT": "adu"}


def write(path, data, cards=None, err=None, mask=None, **more):
    header = fits.Header(CARDS | (cards or {}))
    hdus = [fits.PrimaryHDU(np.asarray(data), header, **more)]
    hdus += [fits.ImageHDU(np.asarray(err), name="ERR")] if err is not None else []
    hdus += [fits.ImageHDU(np.asarray(mask), name="MASK")] if mask is not None else []
    fits.HDUList(hdus).writeto(path)
    return path


def night(folder, values, **more):
    """Frames of one value each, a minute apart."""
    for i, value in enumerate(values):
        data = np.full((6, 8), value) if np.ndim(value) == 0 else value
        date = {"DATE-OBS": f"2021-02-27T20:{i:02d}:00"}
        write(folder / f"20210227.{i + 41:04d}.fit", data, date, **more)


def run(*words):
    done = CliRunner().invoke(cli, ["combine", *map(str, words)], standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_header_records(here):
    night(here, np.array([100, 50, 200], np.uint16))
    run("*.fit", "-o", "m.fits", "-m", "median", "-n", "mean", "-c", "max", "-d", 1, "-u")
    with fits.open("m.fits") as hdus:
        header = hdus[0].header
        assert [h.name for h in hdus][1:4] == ["ERR", "MASK", "N"]
        assert hdus[0].header["BITPIX"] == -32
        assert_array_equal(hdus[0].data, 1)
        assert_array_equal(hdus["ERR"].data, 0)
        assert_array_equal(hdus["N"].data, 2)
        assert_array_equal(hdus["MASK"].data, 0)
    said = {
        key: header[key] for key in ("IMC_NFIL", "IMC_MTHD", "IMC_CLIP", "IMC_NORM", "IMC_UNIT", "IMC_ERR")
    }
    assert list(said.values()) == [3, "median", "max 1", "mean", True, "scatter"]
    assert header["IMC_MEAN"] == 100
    assert [header[f"IMC_000{i}"] for i in (1, 2, 3)] == [f"20210227.004{i}.fit" for i in (1, 2, 3)]
    assert [header[f"IMCD000{i}"] for i in (1, 2, 3)] == [f"2021-02-27T20:0{i}:00" for i in range(3)]
    assert [header[f"IMCS000{i}"] for i in (1, 2, 3)] == [1, 2, 0.5]
    assert header["FILTER"] == "R"
    assert "BUNIT" not in header
    assert {"BZERO", "BSCALE"}.isdisjoint(header)
    record = read_record(here / "m.fits")
    assert record["stages"] == {"combine": 1}
    assert len(record["inputs"]) == 3


def test_exposure_times_and_dates_11(here):
    for i, (time, date) in enumerate([(30.0, "2021-02-27T21:00:00"), (10.0, "2021-02-27T20:00:00")]):
        write(here / f"a{i}.fits", np.ones((4, 4)), {"EXPTIME": time, "DATE-OBS": date, "EXPOSURE": time})
    for method, policy, expected in (
        ("mean", None, 20),
        ("sum", None, 40),
        ("mean", "sum", 40),
        ("sum", "mean", 20),
        ("median", "first", 30),
    ):
        run(
            "a*.fits", "-o", "m.fits", "-m", method, "--overwrite", *(["--exptime", policy] if policy else [])
        )
        header = fits.getheader("m.fits")
        assert (header["EXPTIME"], header["EXPOSURE"], header["TEXPTIME"]) == (expected, expected, 40)
        assert header["NCOMBINE"] == 2
        assert header["DATE-OBS"] == "2021-02-27T20:00:00"
        assert header["DATE-END"] == "2021-02-27T21:00:30.000"
        assert header["MJD-AVG"] == pytest.approx(59272 + (20 + 5 / 3600 + 21 + 15 / 3600) / 48)
    run("a*.fits", "-o", "n.fits")  # what was combined is combined again
    run("n.fits,m.fits", "-o", "mm.fits", "-m", "mean")
    header = fits.getheader("mm.fits")
    assert (header["NCOMBINE"], header["TEXPTIME"], header["IMC_NFIL"]) == (4, 80, 2)
    assert header["IMC_0001"] == "n.fits"


def test_missing_times(here):
    write(here / "a0.fits", np.ones((4, 4)), {"DATE-OBS": "2021-02-27T20:00:00"})
    write(here / "a1.fits", np.ones((4, 4)), {"EXPTIME": ""})
    done = run("a*.fits", "-o", "m.fits")
    header = fits.getheader("m.fits")
    assert {"EXPTIME", "TEXPTIME", "DATE-END", "MJD-AVG"}.isdisjoint(header)
    assert "no TEXPTIME" in done.output


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("ending", ["fits", "fits.gz", "fits.fz", "mef.fits"])
def test_any_type_on_disk(here, kind, ending):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 200, (4, 30, 20)).astype(kind)
    for i, frame in enumerate(frames):
        path = here / f"f{i}.{ending}"
        if ending == "fits.fz":
            if kind is np.int64:
                pytest.skip("tiles have no 64-bit whole numbers")
            fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(frame, quantize_level=0)]).writeto(path)
        elif ending == "mef.fits":
            fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(frame, name="SCI")]).writeto(path)
        else:
            fits.PrimaryHDU(frame).writeto(path)
    run(f"f*.{ending}", "-o", "m.fits", "-m", "median", "--sigma", "2,3")
    run(f"f*.{ending}", "-o", "s.fits", "-m", "sum")
    assert_array_equal(fits.getdata("s.fits"), frames.astype(float).sum(axis=0))
    assert np.isfinite(fits.getdata("m.fits")).all()


def test_scaled_and_blank(here):
    for i, value in enumerate((10, 20)):
        hdu = fits.PrimaryHDU(np.full((4, 5), value, np.int16))
        hdu.data[0, 0], hdu.data[1, 1] = -32768, -32768 if i == 0 else value
        hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.5, 3.0, -32768
        hdu._bscale, hdu._bzero = 0.5, 3.0
        raw = hdu.header.copy()
        fits.PrimaryHDU(hdu.data).writeto(here / f"b{i}.fits")
        with fits.open(here / f"b{i}.fits", mode="update", do_not_scale_image_data=True) as hdus:
            for key in ("BSCALE", "BZERO", "BLANK"):
                hdus[0].header[key] = raw[key]
    run("b*.fits", "-o", "m.fits")
    data, mask = fits.getdata("m.fits"), fits.getdata("m.fits", "MASK")
    assert data[2, 2] == (8 + 13) / 2
    assert data[1, 1] == 13
    assert np.isnan(data[0, 0])
    assert mask[0, 0] == PixelFlag.REJECTED | PixelFlag.NOT_FINITE
    assert np.count_nonzero(mask) == 1


def test_errors_and_masks(here):
    mask = np.zeros((6, 8), np.int16)
    mask[2, 3] = PixelFlag.HOT
    other = mask.copy()
    other[4, 4] = PixelFlag.COSMIC
    kind = np.float32
    write(here / "a.fits", np.full((6, 8), 10, kind), err=np.full((6, 8), 3, kind), mask=mask)
    write(here / "b.fits", np.full((6, 8), 20, kind), err=np.full((6, 8), 4, kind), mask=other)
    run("a.fits,b.fits", "-o", "m.fits")
    data, err, flags, used = (fits.getdata("m.fits", i) for i in range(4))
    assert fits.getheader("m.fits")["IMC_ERR"] == "propagated"
    assert (data[0, 0], err[0, 0], used[0, 0]) == (15, 2.5, 2)
    assert (data[4, 4], err[4, 4], used[4, 4], flags[4, 4]) == (10, 3, 1, 0)
    assert np.isnan(data[2, 3])
    assert (flags[2, 3], used[2, 3]) == (PixelFlag.REJECTED | PixelFlag.HOT, 0)
    run("a.fits,b.fits", "-o", "n.fits", "-n", "mean")  # 20 +- 4 is 10 +- 2
    assert_allclose(fits.getdata("n.fits", 1)[0, 0], math.hypot(3, 2) / 2)
    write(here / "c.fits", np.full((6, 8), 15, kind))
    run("a.fits,b.fits,c.fits", "-o", "o.fits")
    assert fits.getheader("o.fits")["IMC_ERR"] == "scatter"


def test_noise_of_gain_and_read_noise(here):
    for i in range(4):
        write(here / f"a{i}.fits", np.full((4, 4), 400, np.int16), {"EGAIN": 2.0})
    run("a*.fits", "-o", "m.fits", "--gain", "EGAIN", "--read-noise", "10")
    assert_allclose(fits.getdata("m.fits", 1), math.sqrt(400 / 2 + 25) / 2)
    assert fits.getheader("m.fits")["IMC_ERR"] == "propagated"
    with pytest.raises(VisqlError, match="NOGAIN"):
        run("a*.fits", "-o", "n.fits", "--gain", "NOGAIN")


def test_shift_of_bits(here):
    night(here, np.array([160, 175, 47], np.uint16))
    run("*.fit", "-o", "m.fits", "-s", 4, "-m", "sum")
    assert_array_equal(fits.getdata("m.fits"), 10 + 10 + 2)
    write(here / "f.fits", np.ones((6, 8)))
    with pytest.raises(RequestError, match=r"f\.fits: a shift"):
        run("f.fits", "-o", "n.fits", "-s", 1)


def test_region_and_weights(here):
    left, right = np.full((6, 8), 10.0), np.full((6, 8), 10.0)
    right[:, 4:] = 40
    write(here / "a.fits", left)
    write(here / "b.fits", right)
    run("a.fits,b.fits", "-o", "m.fits", "-n", "median", "--region", "[5:8,1:6]")
    header = fits.getheader("m.fits")
    assert (header["IMCS0002"], header["IMC_NORM"]) == (0.25, "median [5:8,1:6]")
    run("a.fits,b.fits", "-o", "n.fits", "-m", "average", "-a", "mean", "-b", 4, 8, 0, 6)
    assert_allclose(fits.getdata("n.fits")[:, 4:], (10 * 10 + 40 * 40) / 50)
    with pytest.raises(RequestError, match="not within"):
        run("a.fits,b.fits", "-o", "o.fits", "-n", "mean", "--region", "[5:9,1:6]")
    for name in ("mean", "sum", "mode"):
        run("a.fits,b.fits", "-o", f"{name}.fits", "-n", name, "--region", "[5:8,1:6]")
        assert fits.getheader(f"{name}.fits")["IMCS0002"] == 0.25
    assert not (here / "o.fits").exists()


def test_region_of_whole_numbers(here):
    frames = np.random.default_rng(3).integers(1, 60000, (2, 50, 40)).astype(np.uint16)
    for i, frame in enumerate(frames):
        write(here / f"u{i}.fits", frame)
    run("u*.fits", "-o", "m.fits", "-n", "mean", "--region", "[3:20,11:45]")
    part = frames[:, 10:45, 2:20].mean(axis=(1, 2))
    assert fits.getheader("m.fits")["IMCS0002"] == pytest.approx(part[0] / part[1], rel=1e-14)


def test_cubes_plane_by_plane(here):
    cube = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    write(here / "a.fits", cube)
    write(here / "b.fits", cube + np.int16(2))
    run("a.fits,b.fits", "-o", "m.fits")
    assert_array_equal(fits.getdata("m.fits"), cube + 1)


def test_groups_and_names(here):
    night(here, np.arange(5, dtype=np.int16) + 1)
    run("*.fit", "-o", "avg", "--group", 2)
    assert sorted(p.name for p in here.glob("avg*")) == ["avg.0041.fit", "avg.0043.fit", "avg.0045.fit"]
    assert_array_equal(fits.getdata("avg.0043.fit"), 3.5)
    assert len(read_record(here / "avg.0043.fit")["inputs"]) == 2
    with pytest.raises(RequestError, match="already there"):
        run("20*.fit", "-o", "avg", "--group", 2)
    with pytest.raises(RequestError, match="leaves none of 1"):
        run("20*.fit", "-o", "x", "--group", 2, "-c", "max")
    write(here / "20210227.0046.fit", np.zeros((6, 8), np.int16))
    done = run("20*.fit", "-o", "y", "--group", 2, "-n", "mean")
    assert done.return_value == 1
    assert "20210227.0046.fit: its level of 0" in done.output
    assert sorted(p.name for p in here.glob("y*")) == ["y.0041.fit", "y.0043.fit"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-c", "max", "-d", "3"], "leaves none of 3"),
        (["-d", "1"], "without -c"),
        (["-c", "max", "-d", "1,2"], "whole number"),
        (["-c", "max", "-d", "x"], "whole number"),
        (["--sigma=-1,3"], "0 or more"),
        (["--sigma", "a,3"], "give a number"),
        (["--sigma", ","], "may be empty"),
        (["-m", "average", "-a", "mode"], "weight of average"),
        (["-m", "quantile", "-a", "2"], "from 0 to 1"),
        (["-a", "mean"], "is for"),
        (["--read-noise", "3"], "give --gain"),
    ],
)
def test_wrong_requests(here, words, message):
    night(here, np.array([3, 2, 1], np.int16))
    with pytest.raises(RequestError, match=message):
        run("*.fit", "-o", "m.fits", *words)
    assert not (here / "m.fits").exists()


def test_frames_that_do_not_go_together(here):
    write(here / "a.fits", np.ones((4, 5)), {"XBINNING": 1})
    write(here / "b.fits", np.ones((5, 5)), {"XBINNING": 1})
    write(here / "c.fits", np.ones((4, 5)), {"XBINNING": 2})
    with pytest.raises(RequestError, match=r"a.fits has 5 x 4 px, b.fits 5 x 5"):
        run("a.fits,b.fits", "-o", "m.fits")
    with pytest.raises(RequestError, match=r"a.fits has XBINNING = 1, c.fits 2"):
        run("a.fits,c.fits", "-o", "m.fits")
    write(here / "d.fits", np.zeros((4, 5)))
    with pytest.raises(VisqlError, match=r"d\.fits: its level"):
        run("a.fits,d.fits", "-o", "m.fits", "-n", "mean")
    (here / "e.fits").write_bytes((here / "a.fits").read_bytes()[:2900])
    with pytest.raises(VisqlError, match=r"e\.fits"):
        run("a.fits,e.fits", "-o", "m.fits")
    fits.PrimaryHDU().writeto(here / "f.fits")
    with pytest.raises(VisqlError, match="holds no image"):
        run("a.fits,f.fits", "-o", "m.fits")


def test_blocks_of_rows_are_the_whole(here, monkeypatch):
    from visql_lib.images import stacking

    frames = np.random.default_rng(2).integers(0, 500, (7, 50, 40)).astype(np.uint16)
    for i, frame in enumerate(frames):
        write(here / f"u{i}.fits", frame, mask=(frame > 490).astype(np.int16) * 16 if i % 2 else None)
    run("u*.fits", "-o", "a.fits", "-n", "mean", "--sigma", "2,2")
    monkeypatch.setattr(stacking, "_BLOCK", 3000)
    monkeypatch.setattr(stacking, "_MOST_OPEN", 3)
    run("u*.fits", "-o", "b.fits", "-n", "mean", "--sigma", "2,2")
    for i in range(4):
        assert_array_equal(fits.getdata("a.fits", i), fits.getdata("b.fits", i))


def test_real_frames(reference):
    folder = reference / "ccd" / "ldt_deveny"
    run(f"{folder}/20250203.00*.fits", "-o", "m.fits", "-m", "median")
    stack = np.stack([fits.getdata(p) for p in sorted(folder.glob("*.fits"))])
    assert_array_equal(fits.getdata("m.fits"), np.median(stack, axis=0).astype(np.float32))
    assert fits.getheader("m.fits")["NCOMBINE"] == len(stack)


_COST = """
import resource, sys, time
from pathlib import Path
from visql_lib.ccd.combine import Recipe
from visql_lib.images.stacking import combine_files
paths = sorted(Path(sys.argv[1]).glob("*.fits"))[: int(sys.argv[2])]
combine_files(paths[:3], Recipe("median"))
start = time.process_time()
combine_files(paths, Recipe("median"))
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_cost_grows_with_frames_and_memory_does_not_16(here):
    rng = np.random.default_rng(8)
    for i in range(200):
        write(here / f"u{i:03d}.fits", rng.integers(0, 60000, (400, 400)).astype(np.uint16))

    def cost(n):
        said = [
            subprocess.run(
                [sys.executable, "-c", _COST, here, str(n)], capture_output=True, text=True, check=True
            )
            for _ in range(2)
        ]
        return np.min([list(map(float, s.stdout.split())) for s in said], axis=0)

    few, many = cost(50), cost(200)
    assert many[0] < 4.4 * 1.5 * few[0]  # half as much again for a busy machine
    assert many[1] < few[1] + 20_000  # kB
