"""The viewer: tiles against the raw pixels and the simulated stars, overlays, and all of it in a real browser."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from visql_lib.cli.pyramid import command as pyramid
from visql_lib.frames import open_exposure
from visql_lib.frames.pyramid import (
    BRIGHTEST,
    DARKEST,
    NO_PIXEL,
    Pyramid,
    Stretch,
    ViewerFrame,
    block_sums,
)
from visql_lib.pipelines.vis.pages.overlays import overlay_data, script
from visql_lib.pipelines.vis.schemas.gaia_metadata import Reference
from visql_lib.radiation.maps import Grid
from visql_lib.tables import read_table

TOY = str(Path(__file__).parent / "toy_camera.yaml")
STATIC = Path(__file__).parent.parent / "visql_lib" / "site" / "static"
STRETCH = Stretch(2700.0, 5.0, 0.0, 65535.0)
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


def data_of(path):
    """Return the data of a script for the viewer."""
    return json.loads(path.read_text().split("=", 2)[2].removesuffix(";\n"))


def grey_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def long_frame(toy_raw):
    return next(toy_raw.glob("C_20240712_0200*.fits"))


def run(*arguments, config=None):
    return CliRunner().invoke(pyramid, [str(a) for a in arguments] + ["--config", str(config)])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(f"instrument: {TOY}\n")
    return path


class Canvas:
    """Puts tiles together again."""

    def __init__(self):
        self.tiles = {}

    def __call__(self, binning, column, row, grey):
        assert (binning, column, row) not in self.tiles, "a tile is written once"
        self.tiles[binning, column, row] = grey.copy()

    def level(self, binning, shape, tile):
        picture = np.full(shape, NO_PIXEL, np.uint8)
        for (b, column, row), grey in self.tiles.items():
            if b == binning:
                picture[row * tile :, column * tile :][: grey.shape[0], : grey.shape[1]] = grey
        return picture


def built(raw, instrument, stretch=STRETCH, tile=100, leave_out=(), order=1):
    canvas = Canvas()
    with open_exposure(raw, instrument) as exposure:
        found = Pyramid(exposure.layouts, canvas, tile, stretch)
        quadrants = {q.name: q for q in exposure if q.name not in leave_out}
    for name in [*quadrants][::order]:
        assert found.add(quadrants[name].image, quadrants[name].layout)
    return found, canvas, quadrants, found.finish()


def coverage(found, quadrants):
    """Return how many quadrants show every pixel of the frame."""
    covers = np.zeros((found.frame.height, found.frame.width), int)
    for quadrant in quadrants.values():
        u0, v0, u1, v1 = found.frame.outline(quadrant.layout)
        covers[v0:v1, u0:u1] += 1
    return covers


# The levels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_every_pixel_is_where_its_quadrant_says(toy, toy_raw, order):
    found, canvas, quadrants, _ = built(long_frame(toy_raw), toy, order=order)
    size = (found.frame.height, found.frame.width)
    picture = canvas.level(1, size, 100)
    covers = coverage(found, quadrants)
    for quadrant in quadrants.values():
        u0, v0, u1, v1 = found.frame.outline(quadrant.layout)
        once = covers[v0:v1, u0:u1] == 1  # the toy's quadrants overlap by two columns
        assert once.mean() > 0.99
        assert np.array_equal(picture[v0:v1, u0:u1][once], STRETCH.to_grey(quadrant.image[::-1])[once])
    assert np.array_equal(picture >= DARKEST, covers > 0)
    assert (picture[covers == 0] == NO_PIXEL).all()


def test_levels_are_means_of_pixels(toy, toy_raw):
    found, canvas, quadrants, stretch = built(long_frame(toy_raw), toy)
    assert stretch is STRETCH
    assert found.binnings == (1, 2, 4, 8, 16, 32)
    mosaic = np.full((found.frame.height, found.frame.width), np.nan)
    for quadrant in quadrants.values():
        u0, v0, u1, v1 = found.frame.outline(quadrant.layout)
        mosaic[v0:v1, u0:u1] = quadrant.image[::-1]
    mosaic[coverage(found, quadrants) > 1] = np.nan  # which one is shown depends on the order
    twice = coverage(found, quadrants) > 1
    for side in found.binnings:
        shape = tuple(-(-n // side) for n in mosaic.shape)
        padded = np.full([n * side for n in shape], np.nan)
        padded[: mosaic.shape[0], : mosaic.shape[1]] = mosaic
        blocks = padded.reshape(shape[0], side, shape[1], side)
        count = np.isfinite(blocks).sum(axis=(1, 3))
        means = np.nansum(blocks, axis=(1, 3)) / np.where(count, count, np.nan)
        picture, expected = canvas.level(side, shape, 100), STRETCH.to_grey(means)
        doubled = np.zeros_like(padded, bool)
        doubled[: mosaic.shape[0], : mosaic.shape[1]] = twice
        single = ~doubled.reshape(blocks.shape).any(axis=(1, 3))
        assert np.array_equal((picture == NO_PIXEL)[single], (count == 0)[single])
        off = np.abs(picture.astype(int) - expected) > 1
        # Blocks on the border of quadrants show one of them at fine levels; all others are exact.
        limit = 0 if side in (1, 8, 16, 32) else 0.02
        assert off[single & (count == side * side)].mean() <= limit


def test_stars_are_where_the_catalogue_says(toy, toy_raw):
    raw = long_frame(toy_raw)
    found, canvas, *_ = built(raw, toy)
    picture = canvas.level(1, (found.frame.height, found.frame.width), 100)
    truth = read_table(raw.parent / "truth" / f"{raw.stem}_stars.parquet")
    bright = np.argsort(np.where(truth["SATURATED"] == 0, -truth["FLUX"], 0))[:40]
    u, v = found.frame.to_viewer(truth["X_WORLD"][bright], truth["Y_WORLD"][bright])
    off = []
    for x, y in zip(u, v, strict=True):
        column, row = int(x), int(y)  # pixel k reaches from k to k + 1
        part = picture[max(0, row - 3) : row + 4, max(0, column - 3) : column + 4].astype(float)
        weight = np.clip(part - np.median(part) - 20, 0, None) ** 2
        rows, columns = np.indices(part.shape)
        centre = [(weight * i).sum() / weight.sum() + 0.5 for i in (columns, rows)]
        off.append(np.hypot(centre[0] + max(0, column - 3) - x, centre[1] + max(0, row - 3) - y))
    assert len(off) > 20
    assert np.median(off) < 0.5
    assert np.mean(np.array(off) < 1) > 0.9  # others have a neighbour or a cosmic ray


def test_missing_quadrants_leave_a_hole(toy, toy_raw):
    left = ("1-1.E", "1-1.F", "1-1.G", "1-1.H")
    found, canvas, quadrants, _ = built(long_frame(toy_raw), toy, leave_out=left)
    assert set(found.outlines) == set(quadrants)
    assert len(quadrants) == 12
    picture = canvas.level(1, (found.frame.height, found.frame.width), 100)
    u0, v0, u1, v1 = found.frame.outline(toy.quadrants["1-1.E"])
    assert (picture[v0:v1, u0:u1] == NO_PIXEL).all()
    assert all(grey.any() for grey in canvas.tiles.values()), "empty tiles are not written"
    for quadrant in quadrants.values():
        u0, v0, u1, v1 = found.frame.outline(quadrant.layout)
        assert (picture[v0:v1, u0:u1] >= DARKEST).all()


def test_a_quadrant_that_its_header_places_elsewhere(toy):
    from dataclasses import replace

    layouts = list(toy.quadrants.values())
    image = np.full((toy.geometry.quadrant_rows - 8, toy.geometry.quadrant_columns - 32), 3000, np.uint16)
    for stretch in (None, STRETCH):
        found = Pyramid(layouts, Canvas(), 100, stretch)
        for shift, added in ((5.0, True), (200.0, True), (1e6, False)):
            wcs = replace(layouts[0].wcs, crpix=(1.0 + shift, 1.0 + shift))
            assert found.add(image, replace(layouts[0], wcs=wcs)) is added
        found.finish()


@given(
    hnp.arrays(np.uint16, st.tuples(st.integers(1, 30), st.integers(1, 30))),
    st.integers(1, 8),
    st.data(),
)
@settings(max_examples=40, deadline=None)
def test_block_sums(image, side, data):
    offset = data.draw(st.tuples(*[st.integers(0, side - 1)] * 2))
    sums, counts = block_sums(image, offset, side)
    for j in range(sums.shape[0]):
        for i in range(sums.shape[1]):
            rows = slice(max(0, j * side - offset[0]), max(0, (j + 1) * side - offset[0]))
            columns = slice(max(0, i * side - offset[1]), max(0, (i + 1) * side - offset[1]))
            part = image[rows, columns]
            assert (sums[j, i], counts[j, i]) == (part.sum(dtype=np.uint32), part.size)


@given(st.floats(0, 65535), st.floats(0, 65535), st.floats(0.5, 1e4))
def test_grey_levels_tell_pixel_values(value, zero, soft):
    stretch = Stretch(zero, soft, 0.0, 65535.0)
    grey = int(stretch.to_grey(value))
    assert DARKEST <= grey <= BRIGHTEST
    low, high = stretch.to_adu([grey - 0.52, grey + 0.52]) if grey > DARKEST else (0, stretch.to_adu(17.0))
    assert low - 0.1 <= value <= high + 0.1


def test_no_pixel_is_no_value():
    assert STRETCH.to_grey(np.nan) == NO_PIXEL
    assert np.isnan(STRETCH.to_adu(NO_PIXEL))
    assert Stretch.around(np.full(9, np.nan), 65535, 1.0).soft == 0.5


@given(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_viewer_coordinates_turn_back(x, y):
    frame = ViewerFrame(0.1 / 3600, -12000, 13000, 24000, 26000)
    assert np.allclose(frame.to_world(*frame.to_viewer(x, y)), (x, y), atol=1e-12)


def test_the_whole_focal_plane_of_vis(vis):
    frame = ViewerFrame.of(list(vis.quadrants.values()))
    assert (frame.width, frame.height) == (25188, 27952)
    assert Pyramid(list(vis.quadrants.values()), Canvas()).binnings == (8, 16, 32, 64)
    u, v = frame.to_viewer(*vis.quadrants["6-1.H"].centre_world)
    assert u < 0.1 * frame.width, "column 1 is left, as in the thumbnail"
    assert v < 0.1 * frame.height, "row 6 is at the top"


# The command -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(toy_raw, config, tmp_path_factory):
    """Folders of tiles of a long frame, at 1/8 and at full resolution."""
    folder = tmp_path_factory.mktemp("tiles")
    for name, options in (("eighth", []), ("full", ["--full"])):
        result = run(long_frame(toy_raw), "-o", folder / name, *options, config=config)
        assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize(("name", "binnings"), [("eighth", [8]), ("full", [1, 2, 4, 8])])
def test_tiles_on_disk(made, name, binnings, toy):
    data = data_of(made / name / "tiles.js")
    assert [level["binning"] for level in data["levels"]] == binnings
    assert len(data["quadrants"]) == 16
    there = {p.relative_to(made / name).as_posix() for p in (made / name).rglob("*.jpg")}
    told = {
        f"{level['binning']}/{column}_{row}.jpg"
        for level in data["levels"]
        for row, text in enumerate(level["present"])
        for column, sign in enumerate(text)
        if sign == "1"
    }
    assert told == there
    for level in data["levels"]:
        with Image.open(made / name / f"{level['binning']}/0_0.jpg") as picture:
            assert picture.mode == "L"
            assert picture.size == tuple(
                min(512, -(-n // level["binning"])) for n in (data["width"], data["height"])
            )
    size = sum(p.stat().st_size for p in (made / name).rglob("*.jpg"))
    assert size / (data["width"] * data["height"]) < {"eighth": 0.03, "full": 1.5}[name]
    assert data["shown"][0] < data["stretch"]["zero"] < data["shown"][1]


def test_tiles_say_the_pixel_values(made, toy, toy_raw):
    data = data_of(made / "eighth" / "tiles.js")
    picture = grey_of(made / "eighth" / "8" / "0_0.jpg")
    facts = {key: data["stretch"][key] for key in ("zero", "soft", "low", "high")}
    name, u0, v0, u1, v1, *_ = data["quadrants"][5]
    part = picture[-(-v0 // 8) + 1 : v1 // 8 - 1, -(-u0 // 8) + 1 : u1 // 8 - 1]
    with open_exposure(long_frame(toy_raw), toy) as exposure:
        level = np.median(exposure[name].image)
    assert np.median(Stretch(**facts).to_adu(part)) == pytest.approx(level, abs=3)


def test_a_second_run_replaces_tiles_and_nothing_else(made, toy_raw, config, tmp_path):
    folder = tmp_path / "tiles"
    shutil.copytree(made / "full", folder)
    (folder / "tiles.js").unlink()  # as Snakemake does before it runs a rule again
    assert run(long_frame(toy_raw), "-o", folder, config=config).exit_code == 0
    assert {p.name for p in folder.iterdir()} == {"8", "tiles.js", ".tiles.js.json"}
    assert [p.name for p in tmp_path.iterdir()] == ["tiles"], "nothing temporary is left"
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    result = run(long_frame(toy_raw), "-o", other, config=config)
    assert result.exception.exit_code == 2
    assert (other / "thesis.txt").read_text() == "years of work"


def test_a_packed_frame_gives_the_same_tiles(made, toy_raw, config, tmp_path):
    raw = tmp_path / f"{long_frame(toy_raw).name}.gz"
    with gzip.open(raw, "wb", compresslevel=1) as file:
        file.write(long_frame(toy_raw).read_bytes())
    assert run(raw, "-o", tmp_path / "t", "--full", config=config).exit_code == 0
    for path in (made / "full").rglob("*.jpg"):
        assert (tmp_path / "t" / path.relative_to(made / "full")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("full", [False, True])
def test_broken_frames(toy_raw, config, tmp_path, full):
    options = ["--full"] if full else []
    cut = tmp_path / long_frame(toy_raw).name
    whole = long_frame(toy_raw).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2 // 2880 * 2880])
    result = run(cut, "-o", tmp_path / "a", *options, config=config)
    assert result.exit_code == 1
    assert not (tmp_path / "a").exists()
    result = run(cut, "-o", tmp_path / "b", *options, "--record-failure", config=config)
    assert result.exit_code == 0
    assert "cut short" in data_of(tmp_path / "b" / "tiles.js")["failed"]
    assert {p.name for p in (tmp_path / "b").iterdir()} == {"tiles.js", ".tiles.js.json"}


@pytest.mark.parametrize("kind", ["C_20240712_0100", "C_20240712_0110", "C_20240712_0130"])
def test_other_frame_types(toy_raw, config, tmp_path, kind):
    raw = next(toy_raw.glob(f"{kind}*.fits"))
    assert run(raw, "-o", tmp_path / "t", config=config).exit_code == 0
    data = data_of(tmp_path / "t" / "tiles.js")
    grey = grey_of(tmp_path / "t" / "8" / "0_0.jpg")
    assert data["frame_type"] in ("BIAS", "DARK", "FLAT")
    assert len(np.unique(grey[grey >= DARKEST])) > 10, "the noise can be seen"


# Overlays --------------------------------------------------------------------------------------------------


def many(vis, n=50_000):
    random = np.random.default_rng(3)
    stars = {
        "X_WORLD": random.uniform(-0.5, 0.5, n),
        "Y_WORLD": random.uniform(-0.5, 0.5, n),
        "FLUX_AUTO": random.lognormal(8, 2, n),
    }
    gaia = {"RAV": stars["X_WORLD"] + 2e-4, "DECV": stars["Y_WORLD"], "G": -np.log(stars["FLUX_AUTO"])}
    gaia["G"][:100] = np.nan
    grid = Grid(-0.4, 1 / 180, 144, -0.4, 1 / 180, 144)
    iy, ix = (i.ravel() for i in np.indices((144, 144)))
    maps = {"MAP": np.full(ix.size, "cosmic"), "IX": ix, "IY": iy, "N": random.poisson(60, ix.size)}
    return stars, gaia, maps, {"cosmic": grid}


def test_overlays_are_small_and_in_place(vis):
    frame = ViewerFrame.of(list(vis.quadrants.values()))
    stars, gaia, maps, grids = many(vis)
    offset = Reference(dx=7.2, dy=0.0, ddx_dx=0.0, ddx_dy=0.0, ddy_dx=0.0, ddy_dy=None)
    found = overlay_data(frame, stars, gaia, maps, grids, offset=offset, pixel=0.1 / 3600, pa=46.2)
    assert len(script("visqlOverlays", found)) < 60_000
    seen, reference = found["marks"]
    assert seen["total"] > len(seen["uv"]) // 2 == 1500
    # The same stars, brightest first, and 2e-4 deg (7.2 px of 1/36000 deg) are taken off again.
    assert np.mean(np.abs(np.array(seen["uv"][:600]) - reference["uv"][:600]) <= 1) > 0.95
    brightest = np.argsort(-stars["FLUX_AUTO"])
    u, v = frame.to_viewer(stars["X_WORLD"][brightest], stars["Y_WORLD"][brightest])
    inside = np.flatnonzero((u >= 0) & (u < frame.width) & (v >= 0) & (v < frame.height))[0]
    assert seen["uv"][:2] == [round(u[inside]), round(v[inside])]
    density = found["maps"][0]
    assert len(density["cells"]) == density["columns"] ** 2 == 72**2
    assert density["du"] == pytest.approx(2 / 180 / frame.scale)


def test_the_map_lies_as_the_frame_does(vis):
    frame = ViewerFrame.of(list(vis.quadrants.values()))
    grid = Grid(-0.4, 0.01, 80, -0.4, 0.01, 80)
    ix, iy = np.array([10]), np.array([70])
    maps = {"MAP": np.array(["xray"]), "IX": ix, "IY": iy, "N": np.array([9])}
    density = overlay_data(frame, maps=maps, grids={"xray": grid})["maps"][0]
    number = density["cells"].index("z")
    row, column = divmod(number, density["columns"])
    x, y = frame.to_world(
        density["u"] + (column + 0.5) * density["du"], density["v"] + (row + 0.5) * density["dv"]
    )
    assert abs(x - (-0.4 + 10.5 * 0.01)) <= 0.01
    assert abs(y - (-0.4 + 70.5 * 0.01)) <= 0.01
    assert density["cells"].count("0") == len(density["cells"]) - 1


def test_overlays_without_tables(vis):
    frame = ViewerFrame.of(list(vis.quadrants.values()))
    assert overlay_data(frame) == {"left": frame.left, "top": frame.top, "pa": None, "marks": [], "maps": []}
    nothing = {"X_WORLD": np.zeros(0), "Y_WORLD": np.zeros(0), "FLUX_AUTO": np.zeros(0)}
    assert overlay_data(frame, nothing, pa=float("nan"))["marks"][0]["uv"] == []


def test_scripts_are_safe():
    text = script("visqlTiles", {"a": "</script><img src=x onerror=alert(1)>"})
    assert "<" not in text
    with pytest.raises(ValueError, match="not JSON compliant"):
        script("visqlTiles", float("nan"))


# A real browser -----------------------------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>viewer</title>
<link rel="stylesheet" href="viewer.css"><link rel="icon" href="data:,">
<script src="viewer.js" defer></script></head><body><main><h1>Viewer</h1>{}</main></body></html>"""
NASTY = "<b>E</b><img src=x onerror=document.title=1>"


@pytest.fixture(scope="module")
def site(made, toy, toy_raw, tmp_path_factory):
    """A folder of pages with viewers."""
    folder = tmp_path_factory.mktemp("site")
    for file in STATIC.glob("viewer.*"):
        shutil.copy(file, folder)
    for name in ("eighth", "full"):
        shutil.copytree(made / name, folder / "tiles" / name)
    Image.new("L", (60, 60), 99).save(folder / "E.png")
    raw = long_frame(toy_raw)
    truth = read_table(raw.parent / "truth" / f"{raw.stem}_stars.parquet")
    stars = {"X_WORLD": truth["X_WORLD"], "Y_WORLD": truth["Y_WORLD"], "FLUX_AUTO": truth["FLUX"]}
    gaia = {"RAV": truth["X_WORLD"], "DECV": truth["Y_WORLD"], "G": truth["G"]}
    grid = Grid(-0.04, 0.004, 20, -0.04, 0.004, 20)
    maps = {"MAP": np.array(["cosmic"]), "IX": np.array([9]), "IY": np.array([9]), "N": np.array([5])}
    frame = ViewerFrame.of(list(toy.quadrants.values()))
    data = overlay_data(frame, stars, gaia, maps, {"cosmic": grid}, pa=46.0)
    (folder / "overlays.js").write_text(script("visqlOverlays", data))
    (folder / "broken.js").write_text(script("visqlTiles", {"failed": NASTY}))
    others = [
        {"label": NASTY, "tiles": "tiles/eighth/tiles.js", "overlays": "overlays.js"},
        {"label": "no tiles", "fallback": "E.png"},
    ]
    quoted = json.dumps(others).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    viewer = '<div id="viewer" data-label="E" data-fallback="E.png" {}></div>'
    full = f'data-tiles="tiles/full/tiles.js" data-overlays="overlays.js" data-others="{quoted}"'
    (folder / "full.html").write_text(PAGE.format(viewer.format(full)))
    (folder / "none.html").write_text(PAGE.format(viewer.format('data-command="visql pyramid E.fits"')))
    (folder / "failed.html").write_text(PAGE.format(viewer.format('data-tiles="broken.js"')))
    return folder


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium."""
    if not CHROMIUM or not DRIVER:
        pytest.skip("no chromium with chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(10)
    yield driver
    driver.quit()


class Page:
    """A page with a viewer; at the end it checks what went over the wire and to the console."""

    def __init__(self, driver, folder, name):
        self.driver, self.folder = driver, folder
        driver.get((folder / name).as_uri())
        self.run("v.ready.then(() => done())")

    def run(self, code):
        return self.driver.execute_async_script(
            f"const done = arguments[0], v = document.getElementById('viewer').visqlViewer; {code}"
        )

    def settled(self):
        """Wait until all tiles are drawn."""
        self.run(
            "const look = () => v.waiting || v.panes.some((p) => p.pending)"
            " ? requestAnimationFrame(look) : requestAnimationFrame(() => done(1)); v.invalidate(); look()"
        )

    def pixels(self):
        stage = self.driver.find_element("css selector", ".vv-stage")
        return np.asarray(Image.open(io.BytesIO(stage.screenshot_as_png)).convert("RGB")).astype(int)

    def click(self, selector):
        self.driver.find_element("css selector", selector).click()

    def close(self):
        assert self.driver.get_log("browser") == []
        asked = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
        assert [u for u in urls if not u.startswith((self.folder.as_uri(), "data:"))] == []


@pytest.fixture
def page(chromium, site):
    found = Page(chromium, site, "full.html")
    found.settled()
    yield found
    found.run("localStorage.clear(); done()")
    found.close()


def test_the_viewer_shows_the_frame(page, site):
    data = data_of(site / "tiles" / "full" / "tiles.js")
    before = page.pixels()
    assert before[:, :, 0].std() > 20
    # The gap between detectors is coloured, pixels are grey.
    grey = np.ptp(before, axis=2) == 0
    assert 0.2 < grey.mean() < 0.95
    assert page.run("done(v.view.zoom < 1.2 * v.fitZoom())")
    assert data["width"] > 0


def test_a_star_is_in_the_middle(page, toy, toy_raw):
    raw = long_frame(toy_raw)
    truth = read_table(raw.parent / "truth" / f"{raw.stem}_stars.parquet")
    bright = np.flatnonzero((truth["SATURATED"] == 0) & (truth["FLUX"] > 2e4))[:3]
    scale = toy.geometry.scale
    for i in bright:
        x, y = truth["X_WORLD"][i] / scale + 0.5, -truth["Y_WORLD"][i] / scale - 0.5
        page.run(f"v.view.zoom = 8; v.moveTo({x}, {y}); v.preset('stars'); done()")
        page.settled()
        pixels = page.pixels()[:, :, 0]
        # The brightest 5 x 5 CSS px of the surroundings lie within one viewer pixel (8 CSS px).
        middle = [n // 2 for n in pixels.shape]
        near = pixels[middle[0] - 40 : middle[0] + 40, middle[1] - 40 : middle[1] + 40]
        rows, columns = np.nonzero(near >= near.max() - 3)
        assert np.hypot(rows.mean() - 40, columns.mean() - 40) <= 8


def test_zoom_pan_and_keys(page):
    from selenium.webdriver.common.keys import Keys

    stage = page.driver.find_element("css selector", ".vv-stage")
    zooms = [page.run("done(v.view.zoom)")]
    page.click("button[aria-label='Zoom in (+)']")
    zooms.append(page.run("done(v.view.zoom)"))
    stage.send_keys("+")
    zooms.append(page.run("done(v.view.zoom)"))
    page.run(
        "v.panes[0].stage.dispatchEvent(new WheelEvent('wheel', {deltaY: -300, clientX: 300, clientY: 400, bubbles: true, cancelable: true})); done()"
    )
    zooms.append(page.run("done(v.view.zoom)"))
    assert zooms == sorted(zooms)
    assert len(set(zooms)) == 4
    x = page.run("done(v.view.x)")
    stage.send_keys(Keys.ARROW_RIGHT)
    assert page.run("done(v.view.x)") > x
    assert "°" in page.driver.find_element("css selector", ".vv-readout").text
    stage.send_keys("0")
    assert page.run("done(v.view.zoom)") == pytest.approx(zooms[0])
    # Two fingers move apart: it zooms, and what lies between them stays there.
    page.run(
        "const s = v.panes[0].stage, b = s.getBoundingClientRect();"
        "const p = (type, id, x, y) => s.dispatchEvent(new PointerEvent(type, {pointerId: id, pointerType: 'touch',"
        " clientX: b.left + x, clientY: b.top + y, bubbles: true}));"
        "p('pointerdown', 11, 100, 200); p('pointerdown', 12, 200, 200); p('pointermove', 11, 50, 200);"
        "p('pointermove', 12, 250, 200); p('pointerup', 11, 50, 200); p('pointerup', 12, 250, 200); done()"
    )
    assert page.run("done(v.view.zoom)") == pytest.approx(2 * zooms[0], rel=0.02)


def test_dragging_moves_the_frame_with_the_mouse(page):
    from selenium.webdriver import ActionChains

    page.run("v.zoomBy(4); done()")
    before = page.run("done([v.view.x, v.view.y])")
    stage = page.driver.find_element("css selector", ".vv-stage")
    ActionChains(page.driver, duration=20).move_to_element(stage).click_and_hold().move_by_offset(
        -60, 30
    ).release().perform()
    after = page.run("done([v.view.x, v.view.y, v.view.zoom])")
    assert after[0] - before[0] == pytest.approx(60 / after[2], abs=2 / after[2])
    assert after[1] - before[1] == pytest.approx(-30 / after[2], abs=2 / after[2])


def test_overlays_switch(page):
    plain = page.pixels()
    for kind in ("stars", "gaia", "cosmic", "quadrants"):
        box = f".vv-legend [data-kind='{kind}'] input"
        page.click(box)
        page.settled()
        shown = page.pixels()
        assert (shown != plain).any(), kind
        page.click(box)
    page.settled()
    assert np.array_equal(page.pixels(), plain)
    texts = [e.text for e in page.driver.find_elements("css selector", ".vv-legend label")]
    assert any("detected stars (" in text for text in texts)


def test_stretch_colours_invert(page):
    def change(selector, value, event):
        page.run(
            f"const e = document.querySelector({json.dumps(selector)}); e.value = {json.dumps(value)};"
            f" e.dispatchEvent(new Event('{event}')); done()"
        )
        page.settled()

    plain = page.pixels()
    grey = np.ptp(plain, axis=2) == 0
    grey[:120, -120:] = False  # the arrow to the north stays white
    page.click("label.vv-check input")  # invert
    page.settled()
    inverted = page.pixels()
    assert np.abs((inverted + plain)[grey] - 255).max() <= 2
    page.click("label.vv-check input")
    page.run("v.stretch.white *= 1.002; v.restretch(); done()")
    page.settled()
    assert page.pixels()[grey].mean() < plain[grey].mean()
    change("input[aria-label='white level']", "1020", "input")
    assert page.run("done(v.stretch.white)") == pytest.approx(65535, rel=1e-3)
    assert "65535" in page.driver.find_elements("css selector", ".vv-adu")[1].text
    page.run("v.preset('sky'); v.stretch.colours = 'viridis'; v.restretch(); done()")
    page.settled()
    assert (np.ptp(page.pixels(), axis=2) > 0).mean() > 0.9


def test_two_exposures_move_together(page):
    page.run("v.zoomBy(3); v.compare(v.others[0]).then(() => done())")
    page.settled()
    assert page.run("done(v.panes.length)") == 2
    assert page.run("v.panBy(40, 40); done(v.panes.every((p) => p.viewer === v && p.data))")
    captions = [e.text for e in page.driver.find_elements("css selector", ".vv-caption")]
    assert captions == ["E", NASTY], "text from data stays text"
    assert page.driver.title == "viewer"
    page.run("v.compare(v.others[1]).then(() => done())")
    assert page.driver.find_elements("css selector", ".vv-fallback")
    page.run("v.compare(null).then(() => done())")
    assert page.run("done(v.panes.length)") == 1


@pytest.mark.parametrize(("name", "text"), [("none", "visql pyramid E.fits"), ("failed", NASTY)])
def test_without_tiles_there_is_the_thumbnail(chromium, site, name, text):
    found = Page(chromium, site, f"{name}.html")
    note = chromium.find_element("css selector", ".vv-note").text
    assert "This is its thumbnail." in note
    assert text in note
    assert chromium.find_element("css selector", ".vv-fallback").get_attribute("alt")
    assert chromium.title == "viewer"
    found.close()


def test_controls_have_names(page):
    nameless = page.run(
        "done([...document.querySelectorAll('button, input, select, [tabindex]')].filter((e) =>"
        " !(e.getAttribute('aria-label') || (e.labels && e.labels.length && e.labels[0].textContent.trim())))"
        ".map((e) => e.outerHTML))"
    )
    assert nameless == []
