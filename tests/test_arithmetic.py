"""visql arith: values, errors and masks; names of results; what goes wrong with one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from visql_lib.ccd.arithmetic import Pixels, arithmetic, common_shape
from visql_lib.cli import cli
from visql_lib.errors import RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.image import Image, read_image
from visql_lib.images.writing import write_image
from visql_lib.tables.provenance import actual_checksum, read_record

NOT_FINITE = PixelFlag.NOT_FINITE.value


def pixels(values: Any, err: Any = None, mask: Any = None, dtype: Any = float) -> Pixels:
    return Pixels(
        np.asarray(values, dtype),
        None if err is None else np.asarray(err, float),
        None if mask is None else np.asarray(mask, np.int16),
    )


def frame(path: Path, values: Any, dtype: Any = np.uint16, **cards: Any) -> Path:
    """Write a frame as cameras do."""
    header = fits.Header(cards.items())
    path.parent.mkdir(exist_ok=True, parents=True)
    fits.PrimaryHDU(np.asarray(values, dtype), header).writeto(path)
    return path


def arith(*words: Any) -> Result:
    return CliRunner().invoke(cli, ["arith", *map(str, words)])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_integers_never_wrap():
    """Case 6 of the issue."""
    less = arithmetic(pixels([[10]], dtype=np.uint16), "-", pixels([[12]], dtype=np.uint16))
    assert less.values == -2
    much = arithmetic(pixels([[300]], dtype=np.int16), "x", pixels([[300]], dtype=np.int16))
    assert much.values == 90000
    for operator in "+-x/=":
        found = arithmetic(pixels([[7]], dtype=np.uint8), operator, pixels([[3]], dtype=np.uint8))
        assert found.values.dtype == np.float32
    assert arithmetic(pixels([[1]]), "+", pixels(1), dtype=np.float64).values.dtype == np.float64


def test_division_by_zero_is_masked():
    """Case 7 of the issue."""
    found = arithmetic(pixels([[100] * 4]), "/", pixels([[1, 0, 1, 2]]))
    assert_array_equal(found.values, [[100, np.nan, 100, 50]])
    assert_array_equal(found.mask, [[0, NOT_FINITE, 0, 0]])
    nothing = arithmetic(pixels([[0.0, 1.0]]), "/", pixels(0))
    assert np.isnan(nothing.values).all()
    assert (nothing.mask == NOT_FINITE).all()


def test_what_is_too_large_is_masked():
    found = arithmetic(pixels([[1e30, 1.0]]), "*", pixels([[1e30, 2.0]]))
    assert_array_equal(found.values, [[np.nan, 2]])
    assert_array_equal(found.mask, [[NOT_FINITE, 0]])
    wide = arithmetic(pixels([[1e30]]), "x", pixels([[1e30]]), dtype=np.float64)
    assert wide.mask is None
    assert_allclose(wide.values, 1e60)


def test_errors_against_simulated_truth():
    """The errors are the scatter of many results."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(1000, 20, (500, 400)), rng.normal(50, 0.5, (500, 400))
    known = {"err": np.full(a.shape, 20.0)}, {"err": np.full(a.shape, 0.5)}
    for operator in "+-x/":
        found = arithmetic(pixels(a, **known[0]), operator, pixels(b, **known[1]), dtype=np.float64)
        assert_allclose(found.err.mean(), found.values.std(), rtol=0.01)
    assert_allclose(arithmetic(pixels(a), "=", pixels(b, **known[1])).err, 0.5)
    assert arithmetic(pixels(a), "-", pixels(b)).err is None


def test_errors_by_hand():
    a, b = pixels([[10.0]], [[3.0]]), pixels([[2.0]], [[4.0]])
    assert_allclose(arithmetic(a, "-", b).err, 5)
    assert_allclose(arithmetic(a, "x", b).err, np.hypot(2 * 3, 10 * 4))
    assert_allclose(arithmetic(a, "/", b).err, np.hypot(3, 5 * 4) / 2)
    assert_allclose(arithmetic(a, "x", pixels(-2)).err, 6)  # a number is exact
    assert_allclose(arithmetic(pixels(1), "/", b).err, 0.5 * 4 / 2)
    assert np.isnan(arithmetic(a, "/", pixels(0)).err).all()


def test_an_image_and_itself():
    """Its errors are not independent of themselves."""
    a = pixels([[10.0]], [[3.0]])
    errors = {op: float(arithmetic(a, op, a, same=True).err.item()) for op in "+-x/="}
    assert errors == {"+": 6, "-": 0, "x": 60, "/": 0, "=": 3}


def test_masks_are_joined():
    a = pixels([[1.0, np.nan, 3.0]], mask=[[PixelFlag.HOT, 0, 0]])
    b = pixels([[1.0, 1.0, 1.0]], mask=[[PixelFlag.COSMIC, 0, PixelFlag.DEAD]])
    found = arithmetic(a, "+", b)
    assert_array_equal(found.mask, [[PixelFlag.HOT | PixelFlag.COSMIC, NOT_FINITE, PixelFlag.DEAD]])
    assert_array_equal(found.values, [[2, np.nan, 4]])
    assert_array_equal(arithmetic(a, "=", b).mask, b.mask)
    assert arithmetic(pixels([[1.0]]), "+", pixels([[1.0]])).mask is None


@pytest.mark.parametrize(
    ("a", "b", "common"),
    [
        ((3, 4), (3, 4), (3, 4)),
        ((3, 4), (), (3, 4)),
        ((), (5, 3, 4), (5, 3, 4)),
        ((5, 3, 4), (3, 4), (5, 3, 4)),
        ((3, 4), (5, 3, 4), (5, 3, 4)),
        ((3, 4), (1, 4), None),
        ((3, 4), (4, 3), None),
        ((5, 3, 4), (1, 3, 4), None),
        ((5, 3, 4), (5, 1), None),
    ],
)
def test_shapes(a, b, common):
    if common is None:
        with pytest.raises(RequestError, match="do not go together"):
            common_shape(a, b)
    else:
        assert common_shape(a, b) == common


def test_unknown_operator():
    with pytest.raises(RequestError, match="one of"):
        arithmetic(pixels(1), "^", pixels([[1]]))


def test_a_cube_with_a_plane():
    cube = pixels(np.arange(12).reshape(3, 2, 2), np.ones((3, 2, 2)), np.zeros((3, 2, 2)))
    plane = pixels(
        [[1, 2], [0, 4]],
        [[1, 1], [1, 1]],
        [
            [
                0,
                4,
            ],
            [0, 0],
        ],
    )
    found = arithmetic(cube, "/", plane)
    assert found.values.shape == found.err.shape == found.mask.shape == (3, 2, 2)
    assert_array_equal(found.mask, np.broadcast_to([[0, 4], [NOT_FINITE, 0]], (3, 2, 2)))
    assert_allclose(found.values[2, 0], [8, 4.5])


values = st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))


@given(
    arrays(np.float32, (2, 3), elements=values),
    arrays(np.float32, (2, 3), elements=values),
    st.sampled_from("+-x/"),
)
def test_equals_numpy_rounded_once(a, b, operator):
    """What numpy computes in 32 bits from 32 bits; and all that is masked is NaN, and the other way round."""
    with np.errstate(all="ignore"):
        right = {"+": a + b, "-": a - b, "x": a * b, "/": a / b}[operator]
    right[~np.isfinite(right)] = np.nan
    found = arithmetic(Pixels(a), operator, Pixels(b))
    assert_array_equal(found.values, right)
    mask = np.zeros((2, 3), int) if found.mask is None else found.mask
    assert_array_equal(mask != 0, np.isnan(found.values))


def test_names_of_the_issue(here):
    for name in ("20210227.0041.fit", "x-012.fits", "a.0007.b.fits", "foo.fits", "20210227.0051.fit"):
        frame(here / name, [[10, 20]])
    wanted = {
        "20210227.0041.fit": "bsub.0041.fit",
        "x-012.fits": "bsub.x-012.fits",
        "a.0007.b.fits": "bsub.0007.b.fits",
        "foo.fits": "bsub.foo.fits",
        "20210227.0051.fit": "bsub.0051.fit",
    }
    done = arith(*wanted, "-", "1", "-o", "bsub")
    assert (done.exit_code, done.output) == (0, "")
    assert all((here / name).is_file() for name in wanted.values())
    assert arith("bsub.0051.fit", "-", 2, "-o", "dbsub").exit_code == 0
    assert arith("dbsub.0051.fit", "/", 2, "-o", "fdb").exit_code == 0
    assert_allclose(read_image(here / "fdb.0051.fit").data, [[3.5, 8.5]])
    history = list(fits.getheader(here / "fdb.0051.fit")["HISTORY"])
    assert history == [
        "visql arith: 20210227.0051.fit - 1",
        "visql arith: bsub.0051.fit - 2",
        "visql arith: dbsub.0051.fit / 2",
    ]


def test_a_list_of_one_and_a_whole_name(here):
    frame(here / "20210227.0041.fit", [[10, 20]])
    (here / "one.txt").write_text("20210227.0041.fit\n")
    assert arith("@one.txt", "-", 1, "-o", "bsub").exit_code == 0
    assert arith("20210227.0041.fit", "-", 1, "-o", "sub/any.fits").exit_code == 0
    assert {p.name for p in here.rglob("*.fit*")} == {"20210227.0041.fit", "bsub.0041.fit", "any.fits"}
    record = read_record(here / "sub" / "any.fits")
    assert record["stages"] == {"arith": 1}
    assert list(record["inputs"]) == ["../20210227.0041.fit"]
    assert record["checksum"] == actual_checksum(here / "sub" / "any.fits")


def test_two_inputs_with_one_result(here):
    frame(here / "a.0001.fit", [[1]])
    frame(here / "b.0001.fit", [[2]])
    done = arith("a.0001.fit,b.0001.fit", "+", 1, "-o", "sum")
    assert done.exit_code == 1  # of click's runner; the exception has the code of the command
    assert isinstance(done.exception, RequestError)
    assert done.exception.exit_code == 2
    assert "both become" in str(done.exception)
    assert not list(here.glob("sum*"))
    whole = arith("a.0001.fit", "b.0001.fit", "+", 1, "-o", "all.fits")
    assert "one file for 2 results" in str(whole.exception)


def test_n_with_n_and_n_with_one(here):
    for i in (1, 2, 3):
        frame(here / f"raw.{i:04d}.fit", [[10 * i, 20]], EXPTIME=float(i))
        frame(here / f"sky.{i:04d}.fit", [[i, 5]], EXPTIME=99.0)
    frame(here / "bias.fits", [[7, 7]], EXPTIME=0.0)
    assert arith("raw.{0001..0003}.fit", "-", "sky.*.fit", "-o", "nn").exit_code == 0
    assert arith("raw.*.fit", "-", "bias.fits", "-o", "bsub").exit_code == 0
    assert arith("bias.fits", "-", "raw.*.fit", "-o", "minus").exit_code == 0
    assert arith("1", "/", "raw.*.fit", "-o", "inverse").exit_code == 0
    for i in (1, 2, 3):
        assert_allclose(read_image(here / f"nn.{i:04d}.fit").data, [[9 * i, 15]])
        assert_allclose(read_image(here / f"bsub.{i:04d}.fit").data, [[10 * i - 7, 13]])
        assert_allclose(read_image(here / f"minus.{i:04d}.fit").data, [[7 - 10 * i, -13]])
        assert_allclose(read_image(here / f"inverse.{i:04d}.fit").data, [[0.1 / i, 0.05]])
        for root in ("nn", "bsub", "minus", "inverse"):
            assert fits.getval(here / f"{root}.{i:04d}.fit", "EXPTIME") == i
        assert set(read_record(here / f"bsub.{i:04d}.fit")["inputs"]) == {f"raw.{i:04d}.fit", "bias.fits"}
    uneven = arith("raw.*.fit", "-", "sky.0001.fit", "sky.0002.fit", "-o", "no")
    assert "3 files with 2" in str(uneven.exception)


def test_header_stays(here):
    cards = {"EXPTIME": 30.0, "CRPIX1": 5.0, "CRVAL1": 120.0, "CTYPE1": "RA---TAN", "OBJECT": "M 1"}
    frame(here / "a.fits", [[40000, 1]], **cards)
    frame(here / "b.fits", [[1, 1]], EXPTIME=1.0)
    assert arith("a.fits", "+", "b.fits", "-o", "c.fits").exit_code == 0
    with fits.open(here / "c.fits") as hdus:
        header = hdus[0].header
        assert {key: header[key] for key in cards} == cards
        assert header["BITPIX"] == -32
        assert "BZERO" not in header
        assert hdus[0].data.tolist() == [[40001, 2]]
    assert arith("a.fits", "+", 0.1, "-o", "d.fits", "--float64").exit_code == 0
    assert fits.getdata(here / "d.fits").dtype.itemsize == 8
    assert fits.getdata(here / "d.fits")[0, 0] == 40000.1


def test_error_and_mask_go_along(here):
    header = fits.Header({"EXPTIME": 3.0})
    data, err = np.full((2, 2), 8.0, np.float32), np.full((2, 2), 3.0, np.float32)
    mask = np.array([[0, 4], [0, 0]], np.int16)
    write_image(here / "a.fits", Image(data, header, err, mask, np.full((2, 2), 5, np.int16)), {"x": 1})
    write_image(
        here / "b.fits", Image(np.array([[2, 2], [0, 2]], np.float32), err=np.ones((2, 2), np.float32)), {}
    )
    assert arith("a.fits", "/", "b.fits", "-o", "c.fits").exit_code == 0
    found = read_image(here / "c.fits")
    assert_array_equal(found.mask, [[0, 4], [NOT_FINITE, 0]])
    assert_allclose(found.err[0, 0], np.hypot(3, 4) / 2)
    assert_array_equal(found.used, 5)
    assert np.isnan(found.err[1, 0])
    assert arith("a.fits", "-", "./a.fits", "-o", "zero.fits").exit_code == 0
    assert_array_equal(read_image(here / "zero.fits").err, 0)


def test_error_of_one_is_said(here):
    write_image(here / "a.fits", Image(np.ones((2, 2)), err=np.ones((2, 2))), {})
    frame(here / "b.fits", np.ones((2, 2)))
    assert "ERR is that of a.fits alone" in arith("a.fits", "-", "b.fits", "-o", "c.fits").stderr
    assert list(fits.getheader(here / "c.fits")["HISTORY"]) == ["visql arith: a.fits - b.fits; ERR of one"]
    assert arith("a.fits", "-", 5, "-o", "d.fits").exit_code == 0  # a number is exact
    assert list(fits.getheader(here / "d.fits")["HISTORY"]) == ["visql arith: a.fits - 5"]


def test_equals_puts_values_in_place(here):
    frame(here / "a.0001.fit", [[1, 2]], OBJECT="A")
    frame(here / "b.fits", [[3, 4]], OBJECT="B")
    assert arith("a.0001.fit", "=", "b.fits", "-o", "e").exit_code == 0
    assert arith("a.0001.fit", "=", "-1.5e0", "-o", "n").exit_code == 0
    assert read_image(here / "e.0001.fit").data.tolist() == [[3, 4]]
    assert read_image(here / "n.0001.fit").data.tolist() == [[-1.5, -1.5]]
    assert fits.getval(here / "e.0001.fit", "OBJECT") == "A"


def test_show_writes_nothing(here):
    frame(here / "a.0001.fit", [[1, 2], [3, 6]])
    done = arith("a.0001.fit", "x", 2, "-s", "-o", "b")
    assert done.exit_code == 0
    assert (
        done.output
        == "a.0001.fit x 2 -> b.0001.fit: mean 6  median 5  std 3.741657  min 2  max 12  masked 0\n"
    )
    assert [p.name for p in here.iterdir()] == ["a.0001.fit"]
    assert "no valid pixel of 4" in arith("a.0001.fit", "/", 0, "-s").output


def test_nothing_is_overwritten_unasked(here):
    frame(here / "a.0001.fit", [[1]])
    frame(here / "b.0001.fit", [[9]])
    refused = arith("a.0001.fit", "+", 1, "-o", "b")
    assert "already there" in str(refused.exception)
    assert fits.getdata(here / "b.0001.fit")[0, 0] == 9
    assert arith("a.0001.fit", "+", 1, "-o", "b", "--overwrite").exit_code == 0
    assert fits.getdata(here / "b.0001.fit")[0, 0] == 2
    frame(here / "c.0002.fit", [[1]])
    danger = arith("a.0001.fit", "b.0001.fit", "+", "c.0002.fit", "b.0001.fit", "-o", "b", "--overwrite")
    assert isinstance(danger.exception, RequestError)


def test_a_result_never_replaces_what_is_still_needed(here):
    frame(here / "a.0001.fit", [[1]])
    frame(here / "a.0002.fit", [[2]])
    frame(here / "b.0001.fit", [[10]])
    frame(here / "b.0002.fit", [[20]])
    done = arith("a.*.fit", "+", "b.0002.fit,b.0001.fit", "-o", "b", "--overwrite")
    assert "would be replaced" in str(done.exception)
    assert fits.getdata(here / "b.0001.fit")[0, 0] == 10


def test_one_of_many_that_fails(here):
    frame(here / "a.0001.fit", [[1, 1]])
    frame(here / "a.0002.fit", [[1, 1, 1]])
    (here / "a.0003.fit").write_bytes(b"no image")
    frame(here / "a.0004.fit", [[4, 4]])
    frame(here / "bias.fits", [[1, 1]])
    done = arith("a.*.fit", "-", "bias.fits", "-o", "b")
    assert str(done.exception) == "2 of 4 failed"
    assert done.exception.exit_code == 1
    assert "an image of 3 x 1 px and one of 2 x 1 px" in done.stderr
    assert "a.0003.fit" in done.stderr
    assert sorted(p.name for p in here.glob("b.*")) == ["b.0001.fit", "b.0004.fit"]
    alone = arith("a.0003.fit", "-", "bias.fits", "-o", "b")
    assert "cannot be read" in str(alone.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.fits", "b.fits", "-o", "c"], "write A OP B"),
        (["a.fits", "-", "-o", "c"], "write A OP B"),
        (["a.fits", "-", "1"], "give -o ROOT"),
        (["a.fits", "-", "1", "--ouput", "c"], "--ouput"),
    ],
)
def test_wrong_usage(here, words, said):
    frame(here / "a.fits", [[1]])
    frame(here / "b.fits", [[1]])
    done = arith(*words)
    assert done.exit_code == 2
    assert said in done.output


def test_wrong_requests(here):
    frame(here / "a.fits", [[1]])
    assert "two numbers" in str(arith(1, "+", 2, "-o", "c").exception)
    assert "no such file" in str(arith("a.fits", "+", "nan", "-o", "c").exception)
    assert arith("no*.fits", "+", 1, "-o", "c", "--allow-empty").exit_code == 0


def test_long_and_foreign_names_fit_one_card(here):
    long = "n" * 60 + "é.0001.fits"
    frame(here / long, [[1]])
    frame(here / ("m" * 70 + ".fits"), [[1]])
    assert arith(long, "-", "m" * 70 + ".fits", "-o", "b").exit_code == 0
    (line,) = fits.getheader(here / "b.0001.fits")["HISTORY"]
    assert len(line) <= 72
    assert line.startswith("visql arith: nnn")
    assert line.endswith("mm.fits")
    assert " - " in line


def test_a_folder_that_may_not_be_written_costs_each_result(here):
    frame(here / "a.0001.fit", [[1]])
    frame(here / "a.0002.fit", [[2]])
    (here / "file").write_text("no folder")
    done = arith("a.*.fit", "+", 1, "-o", "file/b")
    assert str(done.exception) == "2 of 2 failed"
    assert done.exception.exit_code == 1
    assert "a.0001.fit: " in done.stderr
    assert "a.0002.fit: " in done.stderr
