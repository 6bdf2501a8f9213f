"""Lists of files, regions and names of results, as users write them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.errors import RequestError
from visql_lib.images.lists import expand, natural_key
from visql_lib.images.names import is_fits_name, output_name, output_paths, refuse_existing
from visql_lib.images.regions import Region


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.9.fit",
        "b.10.fit",
        "b.0041.fit",
        "b.0042.fit",
        "b.0044.fit",
        "a,b.fit",
        "a.fit",
        "c d.fit",
    ):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.fit").touch()
    return tmp_path


def names(folder, *parts, **options):
    return [p.relative_to(folder).as_posix() for p in expand(parts, folder=folder, **options)]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["b.0042.fit,a.fit"], ["b.0042.fit", "a.fit"]),  # the order given, not sorted
        (["b.?.fit,b.??.fit"], ["b.9.fit", "b.10.fit"]),
        (["b.*.fit"], ["b.9.fit", "b.10.fit", "b.0041.fit", "b.0042.fit", "b.0044.fit"]),
        (["b.{0041..0050}.fit"], ["b.0041.fit", "b.0042.fit", "b.0044.fit"]),
        (["b.{0044..0041}.fit"], ["b.0044.fit", "b.0042.fit", "b.0041.fit"]),
        (["b.{9..10}.fit"], ["b.9.fit", "b.10.fit"]),
        (["b.{0041..0044}.fit,!b.0042.fit"], ["b.0041.fit", "b.0044.fit"]),
        (["b.00*.fit", "!b.{0042..0044}.fit", "a.fit"], ["b.0041.fit", "a.fit"]),
        (["a.fit", "a.fit,b.9.fit", "./a.fit"], ["a.fit", "b.9.fit"]),  # doubles once
        (["b.9.fit,a.fit,!./b.9.fit"], ["a.fit"]),
        ([r"a\,b.fit,a.fit"], ["a,b.fit", "a.fit"]),
        (["a,b.fit"], ["a,b.fit"]),  # as a shell expands a glob
        (["c d.fit , a.fit"], ["c d.fit", "a.fit"]),
        (["*/a.fit"], ["sub/a.fit"]),
    ],
)
def test_lists(folder, parts, expected):
    assert names(folder, *parts) == expected


def test_lists_in_files(folder):
    (folder / "list.txt").write_text(
        "# my frames\nb.0042.fit  # the best\n\na,b.fit\n!b.0041.fit\nb.004*.fit\n"
    )
    assert names(folder, "@list.txt,a.fit") == ["b.0042.fit", "a,b.fit", "b.0041.fit", "b.0044.fit", "a.fit"]
    assert names(folder, "b.004*.fit,!@list.txt,b.9.fit") == ["b.9.fit"]
    (folder / "loop.txt").write_text("@loop.txt\n")
    (folder / "empty.txt").write_text("# none\n")
    for part, message in [
        ("@loop.txt", "name each other"),
        ("@no.txt", "cannot be read"),
        ("@empty.txt", "no file"),
    ]:
        with pytest.raises(RequestError, match=message) as caught:
            names(folder, part)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("part", ["none.fit", "x*.fit", "b.{0050..0060}.fit", "!none.fit", "sub", ""])
def test_a_part_that_matches_nothing_is_an_error_unless_that_is_wanted(folder, part):
    with pytest.raises(RequestError, match=r"no such file|no files"):
        names(folder, *(["a.fit", part] if part else [part]))
    assert names(folder, "a.fit", part, allow_empty=True) == ["a.fit"]


def test_odd_names_are_meant_by_their_names(folder):
    for name in ("x[1].fit", "!y.fit", "@z.fit", "{1..2}.fit"):
        (folder / name).touch()
        assert names(folder, name) == [name]
    with pytest.raises(RequestError, match="more than 1000000 numbers"):
        names(folder, "b.{0..9999999999}.fit")


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_natural_order_is_that_of_the_numbers(numbers):
    found = sorted((f"f{n}.fit" for n in numbers), key=natural_key)
    assert found == [f"f{n}.fit" for n in sorted(numbers)]


@pytest.mark.parametrize(
    ("root", "source", "expected"),
    [
        ("bsub", "20210227.0041.fit", "bsub.0041.fit"),
        ("dbsub", "bsub.0051.fit", "dbsub.0051.fit"),
        ("fdb", "dbsub.0051.fit", "fdb.0051.fit"),
        ("bsub", "x-012.fits", "bsub.x-012.fits"),
        ("bsub", "a.0007.b.fits", "bsub.0007.b.fits"),
        ("bsub", "foo.fits", "bsub.foo.fits"),
        ("bsub", "20210227.fit", "bsub.20210227.fit"),
        ("bsub", "20210227.0041.fits.gz", "bsub.0041.fits"),  # results are not packed
        ("bsub", "20210227.0041.FIT.fz", "bsub.0041.FIT"),
    ],
)
def test_names_of_results(root, source, expected):
    assert output_name(root, Path(source)) == expected
    assert output_paths(root, [Path("n") / source]) == [Path(expected)]  # a list of one, too


def test_paths_of_results(tmp_path):
    two = [Path("n/a.0001.fit"), Path("n/a.0002.fit")]
    assert output_paths("m/b", two) == [Path("m/b.0001.fit"), Path("m/b.0002.fit")]
    assert output_paths("out.FITS", two[:1]) == [Path("out.FITS")]
    assert is_fits_name("A.FIT.GZ")
    assert not is_fits_name("a.0001")
    with pytest.raises(RequestError, match="one file for 2 results"):
        output_paths("out.fits", two)
    with pytest.raises(RequestError, match="not packed"):
        output_paths("out.fits.gz", two[:1])
    with pytest.raises(RequestError, match="would both become"):
        output_paths("b", [Path("n/a.0001.fit"), Path("n/c.0001.fit")])
    (tmp_path / "x.fit").touch()
    with pytest.raises(RequestError, match="already there"):
        refuse_existing([tmp_path / "x.fit"], False)
    refuse_existing([tmp_path / "x.fit"], True)


@pytest.mark.parametrize(
    ("text", "x", "y", "z"),
    [
        ("[1:10,3:4]", (0, 10), (2, 4), None),
        ("[   4:  13,   1: 520]", (3, 13), (0, 520), None),
        ("[10:1,4:3]", (0, 10), (2, 4), None),
        ("[1:1,2:2,3:5]", (0, 1), (1, 2), (2, 5)),
    ],
)
def test_regions(text, x, y, z):
    region = Region.parse(text)
    assert (region.x, region.y, region.z) == (x, y, z)
    assert Region.parse(str(region)) == region


def test_regions_of_bounds_are_half_open_in_any_order():
    assert str(Region.of_bounds([10, 0, 2, 4])) == "[1:10,3:4]"
    assert str(Region.of_bounds([0, 10, 2, 4, 5, 3])) == "[1:10,3:4,4:5]"


@pytest.mark.parametrize(
    "text", ["", "1:2,3:4", "[1:2]", "[1:2,3:4", "[a:2,3:4]", "[1:2:3,3:4]", "[1.5:2,3:4]"]
)
def test_no_regions(text):
    with pytest.raises(RequestError, match=r"write \[x1:x2,y1:y2\]"):
        Region.parse(text)


@pytest.mark.parametrize("text", ["[0:5,1:5]", "[1:6,1:4]", "[1:5,1:5]", "[1:5,-1:4]", "[1:5,1:4,1:1]"])
def test_a_region_beyond_the_edge_is_an_error(text):
    with pytest.raises(RequestError, match=r"a\.fit: region"):
        Region.parse(text).slices((4, 5), "a.fit")


def test_an_empty_region_is_an_error():
    with pytest.raises(RequestError, match="not within"):
        Region.of_bounds([3, 3, 0, 2]).slices((4, 5), "a.fit")


@given(st.data())
def test_a_region_cuts_what_it_says(data):
    ny, nx = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    x = sorted(data.draw(st.lists(st.integers(1, nx), min_size=2, max_size=2)))
    y = sorted(data.draw(st.lists(st.integers(1, ny), min_size=2, max_size=2)))
    image = np.arange(2 * ny * nx).reshape(2, ny, nx)
    region = Region.parse(f"[{x[1]}:{x[0]},{y[0]}:{y[1]}]")
    cut = image[region.slices(image.shape)]  # of each plane
    assert (cut == image[:, y[0] - 1 : y[1], x[0] - 1 : x[1]]).all()
    assert region == Region.of_bounds([x[0] - 1, x[1], y[1], y[0] - 1])
