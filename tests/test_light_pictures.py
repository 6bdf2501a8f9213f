"""The pictures of light curves: what they say of known tables, that nothing is clipped, that they are quick."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from light_tables import SOURCES, STAR_NAMES, START, TARGET, LightSet, write, write_target
from matplotlib.text import Text
from PIL import Image

from visql_lib.cli.lc_pictures import command
from visql_lib.errors import RequestError, TableError
from visql_lib.photometry.scene_model import Core as SceneCore
from visql_lib.photometry.scene_model import Scene, SceneOptions
from visql_lib.photometry.scene_pictures import deconvolved_field
from visql_lib.pictures.style import pixels_of, render_png
from visql_lib.pipelines.lightcurves.pictures.coefficients import coefficients_picture
from visql_lib.pipelines.lightcurves.pictures.conditions import (
    conditions_picture,
    histograms_picture,
    used_frames,
)
from visql_lib.pipelines.lightcurves.pictures.curves import (
    ERROR,
    by_frame,
    by_night,
    colours_picture,
    errors_picture,
    frames_picture,
    nights_picture,
)
from visql_lib.pipelines.lightcurves.pictures.cutouts import (
    Cutout,
    PSFView,
    ScenePart,
    frame_picture,
    galaxy_picture,
    grid_picture,
)
from visql_lib.pipelines.lightcurves.pictures.looks import (
    Looks,
    _window,
    at_quantiles,
    galaxy_of,
    montage_of,
    stars_look,
    target_look,
)
from visql_lib.pipelines.lightcurves.pictures.parts import days, magnitude_axis, spread
from visql_lib.pipelines.lightcurves.pictures.residuals import line_of, residuals, residuals_picture
from visql_lib.pipelines.lightcurves.pictures.stars import star_curves, stars_picture
from visql_lib.pipelines.lightcurves.psf_file import PSFProduct, write_psf
from visql_lib.pipelines.lightcurves.scene_file import NamedScene, ScenePlane, write_scenes
from visql_lib.pipelines.lightcurves.schemas import FLUXES, NIGHTS, PSF, STAR_FLUXES
from visql_lib.pipelines.lightcurves.set_tables import SetTables, column_at, sets_of
from visql_lib.pipelines.lightcurves.stages.lc_pictures import SET_PICTURES, TARGET_PICTURES, frames_of
from visql_lib.pipelines.lightcurves.stamps import Stamps
from visql_lib.psf.effective import EffectivePSF

ECAM, WFI = "R_ecam", "R_wfi"
OF_SET = {
    "coefficients": coefficients_picture,
    "stars": stars_picture,
    "histograms": histograms_picture,
    "conditions": conditions_picture,
    "residuals": residuals_picture,
    "galaxy": galaxy_of,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a target of two sets."""
    results = tmp_path_factory.mktemp("pictures")
    write_target(results, LightSet(results, ECAM), LightSet(results, WFI, 8, 2, 4.0, START + 5, seed=3))
    return results / "targets" / TARGET


@pytest.fixture(scope="module")
def tables(folder):
    return SetTables(folder / ECAM)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    return SetTables(tmp_path_factory.mktemp("none") / TARGET / ECAM)


@pytest.fixture(scope="module")
def sets(folder):
    return {one.name: one for one in sets_of(folder)}


def fluxes(sets):
    return {name: one.fluxes for name, one in sets.items()}


def nights(sets):
    return {name: one.nights for name, one in sets.items()}


def moffat(side, x, y, fwhm, beta=3.0):
    yy, xx = np.mgrid[:side, :side]
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    return (beta - 1) / np.pi / alpha**2 * (1 + ((xx - x) ** 2 + (yy - y) ** 2) / alpha**2) ** -beta


def cutout(name="target", side=61, seed=1, model=True):
    """Cut out a source of 1e5 electrons on noise of 20 electrons; column 0 is outside, a pixel is saturated."""
    rng = np.random.default_rng(seed)
    light = 1e5 * moffat(side, side // 2, side // 2, 5.0)
    sigma = np.sqrt(light + 400.0)
    data, bad = light + sigma * rng.normal(size=light.shape), np.zeros(light.shape, dtype=int)
    bad[:, 0], bad[40:43, 20:22], bad[side // 2, side // 2] = 1, 2, 4
    data[:, 0] = np.nan
    places = {"A": (side / 2 - 0.5, side / 2 - 0.5)}
    return Cutout(name, data, sigma, bad, light if model else None, "seeing 1.08 arcsec", places)


def inside(figure):
    """Demand that every text of a figure lies on its paper: nothing is clipped, and no ink is at its edge."""
    pixels = pixels_of(figure)[..., :3]
    height, width = pixels.shape[:2]
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all(), titles(figure)
    renderer, ticks = figure.canvas.get_renderer(), set()
    for axes in figure.axes:  # ticks beyond the range of an axis have labels that are not drawn
        ticks |= {
            id(t) for a in (axes.xaxis, axes.yaxis) for t in (*a.get_ticklabels(), *a.get_ticklabels(True))
        }
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in ticks:
            box = text.get_window_extent(renderer)
            assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, text.get_text()


def titles(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(OF_SET))
def test_pictures_of_a_set_are_whole_also_without_tables(kind, tables, nothing):
    for some in (tables, nothing):
        figure = OF_SET[kind](some)
        inside(figure)
        assert some.title in titles(figure)


def test_pictures_of_a_target_are_whole_also_without_tables(sets, nothing):
    for figure in (
        frames_picture(fluxes(sets), TARGET),
        nights_picture(nights(sets), TARGET),
        colours_picture(fluxes(sets), TARGET, "AIRMASS"),
        errors_picture(nights(sets), TARGET),
        frames_picture({"R": nothing.fluxes}, TARGET),
        nights_picture({}, TARGET),
        colours_picture({}, TARGET),
        errors_picture({"R": nothing.nights}, TARGET),
    ):
        inside(figure)


def test_pictures_of_frames_are_whole(tmp_path):
    psf = PSFView(
        moffat(41, 20, 20, 5.0), 1e-4 * np.random.default_rng(1).normal(size=(41, 41)), "FWHM 5.1 px"
    )
    long = "J1206+4332, R_ecam, ECAM.2017-02-16T02:24:00.000_long_name, 2017-02-16 02:24:00 UTC, seeing 1.08 arcsec"
    for figure in (
        frame_picture(long, cutout(), psf),
        frame_picture(
            "f", cutout(model=False), None, "no psf: 2 of 3 PSF stars are on this frame, 3 are needed"
        ),
        frame_picture("f", None, None),
        grid_picture(f"{long}: PSF stars", [cutout(name) for name in "abcdefghijkl"]),
        grid_picture(long, [cutout("a")]),
        grid_picture("f", []),
        galaxy_picture("J1206", [ScenePart(moffat(29, 14, 14, 6.0), {"core": (14.0, 14.0)}, "h")] * 3),
    ):
        inside(figure)


def test_a_picture_of_a_frame_takes_less_than_two_fifths_of_a_second():
    psf = PSFView(moffat(41, 20, 20, 5.0), moffat(41, 20, 20, 9.0), "FWHM 5.1 px")
    stars = [cutout(name) for name in "abcdefghijkl"]
    for draw in (lambda: frame_picture("f003", cutout(), psf), lambda: grid_picture("f003", stars)):
        taken = []
        for _ in range(4):
            start = time.process_time()
            render_png(draw())
            taken.append(time.process_time() - start)
        assert min(taken) < 0.4


@pytest.mark.parametrize("draw", [frames_picture, colours_picture])
def test_brighter_is_up_in_light_curves(draw, sets):
    panels = [axes for axes in draw(fluxes(sets), TARGET).axes if axes.get_ylabel().endswith("[mag]")]
    assert [axes.get_ylabel() for axes in panels] == [f"{source} [mag]" for source in SOURCES]
    assert all(axes.yaxis_inverted() for axes in panels)


def test_brighter_is_up_in_nights_and_residuals(sets, tables):
    panels = nights_picture(nights(sets), TARGET).axes
    assert all(axes.yaxis_inverted() for axes in panels)
    assert all(axes.yaxis_inverted() for axes in residuals_picture(tables).axes)


def test_all_sets_of_a_target_share_time_and_are_told_apart(sets):
    figure = frames_picture(fluxes(sets), TARGET)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert ECAM in titles(figure)
    assert WFI in titles(figure)
    kinds = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines if len(line.get_xdata())}
    assert len(kinds) == 3  # two sets, and what is left out


# --- what is drawn --------------------------------------------------------------------------------


def test_points_are_those_of_the_tables(tables):
    curve = by_frame(tables.fluxes, "B")
    mine = tables.fluxes["SOURCE"] == "B"
    assert np.array_equal(curve.mag, tables.fluxes["MAG"][mine])
    assert curve.x[0] == pytest.approx(START - 40587.0)
    assert np.array_equal(curve.kept, tables.fluxes["KEPT"][mine])
    night = by_night(tables.nights, "B")
    assert night.error == pytest.approx(tables.nights["MAG_ERR"][tables.nights["SOURCE"] == "B"][:, ERROR])


def test_magnitudes_that_are_not_known_do_not_stop_a_picture(tmp_path):
    one = LightSet(tmp_path, nights=1, sources=("A",))
    rows = one.fluxes()
    rows[0] |= {"MAG": np.nan, "MAG_ERR": np.nan, "KEPT": False}
    write(one.path("fluxes"), FLUXES, rows)
    inside(frames_picture({"R": SetTables(one.folder).fluxes}, TARGET))
    for row in rows:
        row["MAG"] = np.nan
    write(one.path("fluxes"), FLUXES, rows)
    figure = frames_picture({"R": SetTables(one.folder).fluxes}, TARGET)
    assert "no magnitude" in titles(figure)


def test_a_night_without_errors_is_drawn(tmp_path):
    one = LightSet(tmp_path, nights=2, sources=("A",))
    rows = one.nights(one.fluxes())
    for row in rows:
        row["MAG_ERR"] = [np.nan] * 6
    write(one.path("nights"), NIGHTS, rows)
    inside(nights_picture({"R": SetTables(one.folder).nights}, TARGET))
    inside(errors_picture({"R": SetTables(one.folder).nights}, TARGET))


def test_an_unknown_column_is_refused_with_those_there_are(sets):
    with pytest.raises(TableError, match=r"no column of numbers HUMIDITY; there are .*SEEING"):
        colours_picture(fluxes(sets), TARGET, "HUMIDITY")


def test_star_curves_have_their_scatter_and_say_which_do_not_serve(tables):
    found = {curve.name: curve for curve in star_curves(tables)}
    assert tuple(found) == STAR_NAMES
    for name in "abdefg":
        assert 0.6 < found[name].scatter / found[name].expected < 1.5
        assert found[name].note == ""
    assert found["c"].note.startswith("dropped: varies: it scatters by 16.3 mmag")
    assert found["h"].note == "peak above 0.78"
    assert np.nanmin(found["c"].value) == pytest.approx(0.95, abs=0.03)


def test_flagged_points_of_stars_count_neither_for_the_median_nor_for_the_scatter(tmp_path):
    one = LightSet(tmp_path)
    one.write()
    before = {c.name: c for c in star_curves(SetTables(one.folder))}
    rows = one.star_fluxes()
    flagged = [row for row in rows if row["STAR"] == "a" and row["FLAGS"]]
    assert flagged
    for row in flagged:
        row["FLUX"] *= 1.4
    write(one.path("starfluxes"), STAR_FLUXES, rows)
    after = {c.name: c for c in star_curves(SetTables(one.folder))}["a"]
    assert after.scatter < 1.3 * before["a"].scatter
    assert after.value[after.rejected] == pytest.approx(1.4, abs=0.05)
    assert np.median(after.value[~after.rejected]) == pytest.approx(1.0, abs=1e-6)
    assert int(after.rejected.sum()) == len(flagged)


def test_frames_that_count_are_those_of_the_light_curve(tables, tmp_path):
    used = used_frames(tables)
    kept = set(tables.fluxes["FRAME"][tables.fluxes["KEPT"]])
    assert {str(n) for n in tables.frames["FRAME"][used]} == {str(n) for n in kept}
    one = LightSet(tmp_path, nights=2)
    one.write()
    one.path("fluxes").unlink()
    assert int(used_frames(SetTables(one.folder)).sum()) == 7  # all but the kicked one


def test_residuals_are_off_the_median_of_the_night():
    night = np.array(["a", "a", "a", "b", "c", "c"])
    mag = np.array([18.0, 18.1, 18.3, 17.0, 19.0, np.nan])
    found = residuals(mag, night, np.arange(6.0))
    assert found[:3] == pytest.approx([-0.1, 0.0, 0.2])
    assert np.isnan(found[3:]).all()


def test_a_transit_is_no_residual_of_a_long_night():
    t = np.linspace(0, 1, 60)
    dip = 0.02 * np.exp(-(((t - 0.5) / 0.15) ** 4))
    found = residuals(18 + dip, np.array(["n"] * 60), t)
    assert np.nanmax(np.abs(found)) < 0.006
    assert np.nanmax(np.abs(dip - np.median(dip))) > 0.015


def test_a_slope_comes_back_with_its_error():
    rng = np.random.default_rng(4)
    x, error = rng.uniform(0.8, 1.6, 400), rng.uniform(2.0, 6.0, 400)
    found = [line_of(x, 7.0 * x + error * rng.normal(size=400), error) for _ in range(60)]
    slopes = np.array([line.slope for line in found])
    assert slopes.mean() == pytest.approx(7.0, abs=4 * slopes.std() / np.sqrt(60))
    assert np.median([line.error for line in found]) == pytest.approx(slopes.std(), rel=0.3)
    assert np.isnan(line_of(x[:3], x[:3], error[:3]).slope)
    assert np.isnan(line_of(np.ones(9), x[:9], error[:9]).slope)


def test_masked_pixels_have_no_residual():
    one = cutout()
    assert np.isnan(one.off[:, 0]).all()
    assert np.isnan(one.off[30, 30])
    assert np.nanstd(one.off) == pytest.approx(1.0, abs=0.05)
    assert cutout(model=False).off is None


def test_a_cosmic_ray_and_its_pixels_are_named():
    text = titles(frame_picture("f", cutout(), None, "no psf"))
    assert "cosmic ray: 6 px" in text
    assert "bad, or outside the frame: 61 px" in text
    assert "saturated: 1 px" in text
    assert "neighbour" not in text


def test_frames_of_the_montage_go_from_the_best_to_the_worst_seeing(tables):
    names = at_quantiles(tables)
    seeing = column_at(names, tables.frames, "SEEING")
    assert len(names) == 7
    assert (np.diff(seeing) > 0).all()
    used = tables.frames["SEEING"][used_frames(tables)]
    assert (seeing[0], seeing[-1]) == (used.min(), used.max())


def test_few_frames_are_shown_once(tmp_path):
    one = LightSet(tmp_path, nights=1, per_night=2)
    one.write()
    assert len(at_quantiles(SetTables(one.folder))) == len(set(at_quantiles(SetTables(one.folder)))) <= 2


def test_a_window_over_the_edge_is_filled():
    image = np.arange(12.0).reshape(3, 4)
    found = _window(image, 2, -1, 3, -9)
    assert found.tolist() == [[-9, -9, -9], [2, 3, -9], [6, 7, -9]]
    assert (_window(image, 9, 9, 2, -9) == -9).all()


def test_ranges_of_axes():
    assert days(40587.0) == 0
    assert spread([np.nan], 2.0) == (-1.0, 1.0)
    low, high = spread([1.0, 1.0], 0.2)
    assert low < 0.9 + 1e-9
    assert high > 1.1 - 1e-9
    axes = SimpleNamespace(set_ylim=lambda *ends: setattr(axes, "ends", ends))
    magnitude_axis(axes, [18.0, 19.0])
    assert axes.ends[0] > 19.0 > 18.0 > axes.ends[1]


# --- from files of frames -------------------------------------------------------------------------

PLACES = np.array([[200.0, 150.0], [207.5, 154.0]])  # of A and B in the reference, zero-based
ELECTRONS, CORE, RMS = (9e4, 4e4), 2e4, 20.0
TURN = np.array([[0.0, -1.0], [1.0, 0.0]])  # the frame is turned by 90 degrees against the reference
SHIFT = np.array([350.3, -40.6])  # px: in the frame is what lies at TURN (x, y) + SHIFT
OUTLIER, HIT = (20, 18), (30, 41)  # pixels (y, x) of the stamp


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """A set with the files of one frame, f000: stamps of known truth, PSF, and the scene of its target."""
    one = LightSet(tmp_path_factory.mktemp("looks"), ECAM, nights=2, sources=("A", "B"))
    one.write()
    psf = EffectivePSF(4.2, 0.05, -0.03, 3.1, surface=2e-4 * np.ones((3, 3)))
    stem = one.folder / "frames/f000/f000"
    stem.parent.mkdir(parents=True)
    _stamps(psf, one.coeff[0]).write(Path(f"{stem}_stamps.fits"), {"lc_measure": 1})
    row = {c.name: c.unknown for c in PSF.columns} | {
        "FRAME": "f000",
        "CHI2": 1.0,
        "N_STARS": 3,
        "STARS": "a b c",
    }
    write_psf(
        Path(f"{stem}_psf.fits"),
        PSFProduct(psf, row | {"REASON": ""}, STAR_FLUXES.empty()),
        ECAM,
        {"lc_psf": 1},
    )
    options = SceneOptions(image=False, core=SceneCore(203.0, 152.0, CORE), fixed=True)
    scene = Scene.start(PLACES, options)
    field = ScenePlane(
        deconvolved_field(scene, np.array(ELECTRONS)),
        tuple(c + 1.0 - scene.half for c in scene.grid.centre),
        0.5,
        "electron",
    )
    named = NamedScene("", ("A", "B"), scene, np.array(ELECTRONS), 1.0, 1, planes={"DECONVOLVED": field})
    write_scenes(one.folder / f"target_{ECAM}.fits", [named], {"SET": ECAM}, {"lc_target": 1})
    return SetTables(one.folder)


def _stamps(psf, coeff, side=61):
    """Draw the target, and the stars a to c, in the frame: an outlier and a masked hit on the target."""
    rng, half = np.random.default_rng(5), side // 2
    middle = np.rint(TURN @ PLACES.mean(0) + SHIFT).astype(int)
    corner = middle - half
    image = np.full((side, side), 3.0)
    for (x, y), flux in zip([*PLACES, (203.0, 152.0)], (*ELECTRONS, CORE), strict=True):
        image += flux / coeff * psf.stamp(*(TURN @ (x, y) + SHIFT - middle), half)
    star = 2e5 * psf.stamp(0.3, -0.2, half)
    data = np.stack([image, star, star / 2, star / 4])
    data += np.sqrt(data + RMS**2) * rng.normal(size=data.shape)
    data[0][OUTLIER] += 40 * RMS
    bad = np.zeros(data.shape, dtype="u1")
    data[0][HIT], bad[0][HIT] = 9e4, 2
    back = np.column_stack([TURN.T, -TURN.T @ SHIFT])
    x0, y0 = np.array([corner[0], 10, 90, 170]), np.array([corner[1], 20, 20, 20])
    return Stamps(
        ["target", "a", "b", "c"], data.astype("f4"), np.sqrt(np.maximum(data, 0) + RMS**2).astype("f4"), bad,
        x0, y0, x0 + half + 0.3, y0 + half - 0.2, back.ravel(), RMS, 300.0, 1.0, "f000", ECAM,
    )  # fmt: skip


def test_the_model_of_a_frame_leaves_noise_alone(looked):
    frame = Looks(looked).frame("f000")
    target = frame.target()
    off = target.off[np.isfinite(target.off)]
    assert np.std(off) == pytest.approx(1.0, abs=0.05)
    assert np.mean(off) == pytest.approx(0.0, abs=0.1)
    stars = frame.stars()
    assert [star.name for star in stars] == ["a", "b", "c"]
    assert all(np.nanstd(star.off) == pytest.approx(1.0, abs=0.08) for star in stars)


def test_point_sources_are_marked_where_they_are_in_the_frame(looked):
    target = Looks(looked).frame("f000").target()
    for name, (x, y) in target.places.items():
        light = target.data[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2]
        assert light.sum() > 0.2 * ELECTRONS[SOURCES.index(name)] / 2, name
    a, b = (np.array(target.places[name]) for name in "AB")
    assert b - a == pytest.approx(TURN @ (PLACES[1] - PLACES[0]), abs=1e-6)


def test_hits_are_masked_and_what_the_fit_clipped_is_told_apart(looked):
    stamp = Looks(looked).frame("f000").stamps
    bits = Looks(looked).frame("f000").target().bad
    assert set(np.unique(bits)) == {0, 2, 16}
    assert int((bits == 2).sum()) == int((stamp.bad[0] == 2).sum()) == 1
    assert int((bits == 16).sum()) == 1


def test_the_surface_is_what_the_psf_has_beside_the_moffat(looked):
    view = Looks(looked).frame("f000").view()
    assert view.image.sum() == pytest.approx(1.0, abs=0.05)
    assert view.surface.sum() == pytest.approx(0.0, abs=2e-4)
    assert "FWHM 4.20 px" in view.text


def test_pictures_of_a_frame_from_its_files_are_whole(looked, tmp_path):
    frame = Looks(looked).frame("f000")
    inside(target_look(frame))
    inside(stars_look(frame))
    inside(galaxy_of(looked))
    inside(montage_of(looked))
    galaxy = galaxy_of(looked)
    assert "core 20000 electrons" in titles(galaxy)
    field = next(axes for axes in galaxy.axes if axes.get_title() == "deconvolved field")
    marked = {tuple(np.rint(line.get_xydata()[0]).astype(int)) for line in field.lines}
    shown = field.images[0].get_array()[..., 0]
    assert len(marked) == 3
    assert all(shown[y, x] > 0.9 * shown[y - 1 : y + 2, x - 1 : x + 2].max() > 100 for x, y in marked)
    stamps = looked.folder / "frames/f000/f000_stamps.fits"
    assert invoke("frame", stamps, "-o", tmp_path, "--list", tmp_path / "l.tsv").exit_code == 0
    assert {p.name for p in tmp_path.glob("f000/*.png")} == {"f000_stamp.png", "f000_stars.png"}
    assert (tmp_path / "l.tsv").read_text().splitlines()[1:] == ["f000/f000_stamp.png", "f000/f000_stars.png"]


def test_broken_files_of_a_frame_are_said_to_be_missing(looked, caplog):
    frame = Looks(looked).frame("f001")
    assert (frame.stamps, frame.psf, frame.target(), frame.view(), frame.stars()) == (
        None,
        None,
        None,
        None,
        [],
    )
    folder = looked.folder / "frames/f003"
    folder.mkdir(exist_ok=True)
    for ending in ("stamps", "psf"):
        (folder / f"f003_{ending}.fits").write_bytes(b"SIMPLE  =")
    broken = Looks(looked).frame("f003")
    assert (broken.stamps, broken.psf) == (None, None)
    assert "f003" in caplog.text
    assert Looks(looked).frame("f002").why == "kicked: satellite"


# --- the command ----------------------------------------------------------------------------------


def invoke(*words):
    return CliRunner().invoke(command, [str(w) for w in words], catch_exceptions=False)


def test_the_command_draws_a_set_and_a_target(folder, tmp_path):
    assert invoke("set", folder / WFI, "-o", tmp_path).exit_code == 0
    assert sorted(p.name for p in tmp_path.glob("*.png")) == sorted(f"{k}_{WFI}.png" for k in SET_PICTURES)
    assert invoke("target", folder, "-o", tmp_path / "t", "--colour", "sky").exit_code == 0
    made = sorted(p.name for p in (tmp_path / "t").glob("*.png"))
    assert made == sorted(f"{k}_{TARGET}.png" for k in TARGET_PICTURES)
    with Image.open(tmp_path / "t" / f"colours_{TARGET}.png") as picture:
        assert picture.width == 1400


def test_one_folder_at_a_time(folder):
    with pytest.raises(RequestError, match="one folder at a time, 2 were given"):
        invoke("set", folder / ECAM, folder / WFI, "-o", folder)


def test_frames_are_named_by_stamps_or_by_the_table_of_a_night(folder, tmp_path):
    stamps = folder / ECAM / "frames/f001/f001_stamps.fits"
    assert frames_of([stamps]) == {folder / ECAM: ["f001"]}
    table = folder / ECAM / "chunks/20170215_psf.parquet"
    write(table, STAR_FLUXES, [{"FRAME": "f003", "STAR": "a"}, {"FRAME": "f003", "STAR": "b"}])
    assert frames_of([table]) == {folder / ECAM: ["f003"]}
    with pytest.raises(RequestError, match=r"give FRAME_stamps\.fits"):
        frames_of([tmp_path / "x.fits"])


def test_frames_without_stamps_have_no_picture_and_the_list_says_so(folder, tmp_path):
    table = folder / ECAM / "chunks/20170216_psf.parquet"
    write(table, STAR_FLUXES, [{"FRAME": "f003", "STAR": "a"}])
    listed = tmp_path / "looks.tsv"
    assert invoke("frame", table, "-o", tmp_path, "--list", listed).exit_code == 0
    assert listed.read_text() == "PICTURE\n"
