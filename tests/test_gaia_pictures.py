"""Pictures of an exposure against Gaia and of a month's flux ratios: what is drawn, labelled and said."""

import io
from dataclasses import asdict

import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.quiver import Quiver
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from visql_lib.flags import RatioFlag, SolutionFlag
from visql_lib.instruments.model import load_instrument
from visql_lib.photometry.cells import HexagonGrid
from visql_lib.photometry.relation import fit_size_relation
from visql_lib.pictures import style
from visql_lib.pictures.focalplane import ccd_outlines, quadrant_outlines
from visql_lib.pipelines.vis.pictures.gaia import flux_ratio_colour, gaia_field
from visql_lib.pipelines.vis.pictures.ratio_maps import RatioHexagons
from visql_lib.pipelines.vis.pictures.ratio_sheet import ratio_sheet
from visql_lib.pipelines.vis.pictures.residuals import astrometric_residuals
from visql_lib.pipelines.vis.schemas.gaia import FRAT, GAIA_STARS, MOMENTS_COLOURS, RATIOS, SOLUTION
from visql_lib.pipelines.vis.schemas.gaia_metadata import Relation, Sizes, SolutionFacts
from visql_lib.sky.projection import Boresight, project

BORESIGHT = Boresight(56.24568699, -55.71421686, 46.21774651)
EXPOSURE = "C_20240713_032840_W_52167482.VIS.bin_01_01"
COLOURS = np.array([0.75, 1.75, 2.75])
TRUE_RATIOS = np.array([0.8863, 1.1343, 1.2601])
CURVE = np.polyfit(COLOURS, np.log(TRUE_RATIOS), 2)
GRID = HexagonGrid(0.02)


@pytest.fixture(scope="module")
def instrument():
    return load_instrument("euclid_vis")


def reference_stars(n=500, seed=2):
    rng = np.random.default_rng(seed)
    return {
        "RAV": rng.uniform(-0.4, 0.4, n),
        "DECV": rng.uniform(-0.4, 0.4, n),
        "G": 21 - rng.exponential(2, n),
    }


def some_stars(instrument, n=1500, seed=1, losses=None):
    """Stars on the detectors: residuals of 0.1 px, ratios by the relation, fainter than 19.5 flagged."""
    rng = np.random.default_rng(seed)
    fields = quadrant_outlines(instrument)
    names = np.array(list(fields))
    which = rng.integers(len(names), size=n)
    f = np.array(list(fields.values()))[which]
    ccds = np.array([instrument.quadrants[q].ccd for q in names])[which]
    loss = np.array([(losses or {}).get(c, 0.0) for c in ccds])
    colour = rng.uniform(0.5, 3.0, n)
    g = rng.uniform(17.5, 20.5, n)
    gf = 10 ** (-0.4 * (g - 30)) / 1.5
    frat = np.exp(rng.normal(0, 0.02, n) - loss)
    return {
        "EXT": names[which],
        "XWORLD": f[:, 0] + rng.random(n) * (f[:, 2] - f[:, 0]),
        "YWORLD": f[:, 1] + rng.random(n) * (f[:, 3] - f[:, 1]),
        "G": g,
        "BpRp": colour,
        "VFLUX": gf * np.exp(np.polyval(CURVE, colour)) * frat,
        "GFLUX": gf,
        "FRAT": frat,
        "DX": rng.normal(0, 0.1, n),
        "DY": rng.normal(0, 0.1, n),
        "FLAGS": np.where(g < 19.5, 0, int(RatioFlag.FAINT)).astype(np.int16),
    }


def a_relation(**other):
    known = {"coefficients": tuple(CURVE), "colours": tuple(COLOURS), "ratios": tuple(TRUE_RATIOS)}
    known |= {"errors": (0.0021, 0.0023, 0.0045), "n": 722, "n_fit": 325, "n_clipped": 2, "rms": 0.034}
    return Relation(**known | other)


def some_moments(stars, seed=3):
    n = len(stars["BpRp"])
    size = 1.85 + 0.06 * stars["BpRp"] + np.random.default_rng(seed).normal(0, 0.02, n)
    size += 0.5 * stars["XWORLD"] - 0.3 * stars["YWORLD"] ** 2
    return {name: stars[name] for name in ("XWORLD", "YWORLD", "BpRp", "G")} | {"R2": size}


def ratio_rows(instrument, losses=None):
    ccds = list(ccd_outlines(instrument))
    loss = np.exp([-(losses or {}).get(c, 0.0) for c in ccds])
    rows = {"SPACE": np.full(len(ccds), "ccd"), "SPACE_BIN": np.array(ccds)}
    for i, ratio in enumerate(TRUE_RATIOS, start=1):
        rows |= {f"R{i}": ratio * loss, f"R{i}_ERR": np.full(len(ccds), 0.0012)}
    return rows | {"N_FIT": np.full(len(ccds), 900), "N_CLIPPED": np.full(len(ccds), 7)}


def hexagon_cells(stars, grid):
    """Gather stars as the table of ratios does."""
    bins = grid.bins(stars["XWORLD"], stars["YWORLD"])
    code = bins.code[bins.code >= 0]
    values = {"MEAN_FRAT": stars["FRAT"], "MEAN_G": stars["G"], "MEAN_LOGFLUX": np.log10(stars["VFLUX"])}
    n = np.bincount(code, minlength=len(bins.names))
    cells = {k: np.bincount(code, v[bins.code >= 0], minlength=len(n)) / n for k, v in values.items()}
    square = np.bincount(code, (stars["FRAT"][bins.code >= 0] - cells["MEAN_FRAT"][code]) ** 2, len(n))
    scatter = np.where(n > 1, np.sqrt(square / np.maximum(n - 1, 1)), np.nan)
    kind = np.full(len(n), "hexagon")
    return cells | {"SPACE": kind, "SPACE_BIN": bins.names, "N": n, "SCATTER": scatter}


def texts(figure):
    """Return every text of a figure that is not empty."""
    found = [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        found += [t.get_text() for t in axes.texts]
        found += [axes.get_title(), axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        if axes.get_legend():
            found += [t.get_text() for t in axes.get_legend().get_texts()]
    return [t for t in found if t]


def panels(figure):
    return [axes for axes in figure.axes if axes.get_label() != "colour bar"]


def bar_labels(figure):
    bars = [axes for axes in figure.axes if axes.get_label() == "colour bar"]
    return [axes.get_ylabel() for axes in bars]


def draws(figure):
    """Render a figure, small to be quick, as that is when ticks and positions are made."""
    assert min(Image.open(io.BytesIO(style.render_png(figure, dpi=25))).size) > 100


def no_overlaps(figure):
    """Say whether no two panels or bars overlap, with their ticks and labels, and all lie on the canvas."""
    draws(figure)
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes if axes.axison]
    clear = all(
        min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1
        for i, a in enumerate(boxes)
        for b in boxes[:i]
    )
    whole = figure.bbox
    inside = [b.x0 >= 0 and b.x1 <= whole.x1 and b.y0 >= 0 and b.y1 <= whole.y1 for b in boxes]
    return clear and all(inside)


def points_of(axes):
    return next(c for c in axes.collections if isinstance(c, PathCollection) and c.get_array() is not None)


def first_rows(table, n):
    return {name: column[:n] for name, column in table.items()}


def read_text(path):
    lines = path.read_text().splitlines()
    names = lines[0].lstrip("# ").split()
    columns = zip(*(line.split() for line in lines[1:]), strict=True)
    return {n: np.array(c) if n == "EXT" else np.array(c, float) for n, c in zip(names, columns, strict=True)}


# --- the field ------------------------------------------------------------------------------------


def test_reference_stars_are_drawn_where_they_are_and_the_bright_ones_large(instrument):
    stars = reference_stars()
    figure = gaia_field(stars, instrument, BORESIGHT, title="E")
    points = points_of(figure.axes[0])
    order = np.argsort(-stars["G"])
    assert_allclose(points.get_offsets(), np.stack([stars["RAV"], stars["DECV"]], axis=1)[order])
    assert_allclose(points.get_array(), stars["G"][order])
    assert (np.diff(points.get_sizes()) >= 0).all()
    assert bar_labels(figure) == ["G [mag]"]
    assert {"X, focal plane [deg]", "Y, focal plane [deg]", "E"} <= set(texts(figure))
    assert any(t.startswith("500 reference stars, ") for t in texts(figure))
    assert no_overlaps(figure)


@pytest.mark.parametrize("pa", [0.0, 46.2, 133.0, -80.0])
def test_the_arrows_point_north_and_east(pa, instrument):
    boresight = Boresight(120.0, 30.0, pa)
    figure = gaia_field(reference_stars(), instrument, boresight)
    arrows = next(c for axes in figure.axes for c in axes.collections if isinstance(c, Quiver))
    tiny = 1e-4
    x, y = project([120.0, 120.0 + tiny / np.cos(np.radians(30))], [30.0 + tiny, 30.0], boresight)
    assert_allclose(np.stack([arrows.U, arrows.V]), np.stack([x, y]) / tiny, atol=1e-4)
    places = {t.get_text(): t.get_position() for axes in figure.axes for t in axes.texts}
    assert_allclose(places["N"], 1.28 * np.array([arrows.U[0], arrows.V[0]]))
    assert_allclose(places["E"], 1.28 * np.array([arrows.U[1], arrows.V[1]]))


def test_a_field_without_stars_pointing_or_roll_says_so(instrument):
    said = texts(gaia_field(GAIA_STARS.empty(), instrument, None))
    assert {"no reference star in the field", "pointing not known", "roll not known:\nno directions"} <= set(
        said
    )
    said = texts(gaia_field(reference_stars(1), instrument, Boresight(10.0, -5.0, np.nan)))
    assert "RA 10.000°\nDec −5.000°" in said
    assert any(t.startswith("1 reference star, ") for t in said)


def test_a_crowded_field_shows_its_brightest_stars_and_says_how_many_it_does_not(instrument):
    stars = reference_stars(20_500)
    figure = gaia_field(stars, instrument, BORESIGHT)
    drawn = points_of(figure.axes[0]).get_array()
    assert len(drawn) == 20_000
    assert drawn.max() <= np.sort(stars["G"])[20_000]
    assert any("the 500 faintest not drawn" in t for t in texts(figure))


# --- residuals ------------------------------------------------------------------------------------


def test_residuals_are_drawn_against_both_positions_and_outliers_at_the_edge(instrument):
    stars = some_stars(instrument)
    stars["DX"][:2] = (9.0, -9.0)
    figure = astrometric_residuals(stars, None, instrument)
    first = figure.axes[0]
    assert first.get_ylabel() == "dx, measured − predicted [px]"
    assert figure.axes[2].get_ylabel() == "dy, measured − predicted [px]"
    assert [a.get_xlabel() for a in figure.axes[:4]] == ["X, focal plane [deg]", "Y, focal plane [deg]"] * 2
    low, high = first.get_ylim()
    assert low == -high
    assert 0.3 < high < 1.0
    carets = [line for line in first.lines if line.get_marker() in "<>v^" and len(line.get_xdata())]
    assert {line.get_marker() for line in carets} == {"v", "^"}
    said = "\n".join(texts(figure))
    kept = len(first.lines[1].get_xdata())
    assert f"{kept:,} stars kept" in said
    assert f"{1500 - kept} outliers (×)" in said
    assert no_overlaps(figure)


def test_the_scatter_is_that_of_the_stars_kept(toy):
    stars = some_stars(toy, 3000)
    stars["DX"][:50] += 20
    said = "\n".join(texts(astrometric_residuals(stars, None, toy)))
    found = float(said.split("outliers (×)\nscatter ")[1].split(" px per axis")[0])
    assert abs(found / 0.1 - 1) < 0.08  # the cut takes the wings, 4.4 % of the stars of a normal distribution
    facts = SolutionFacts(n=715, n_outliers=7, scatter=5.799)
    said = "\n".join(texts(astrometric_residuals(stars, None, toy, facts)))
    assert "715 stars kept\n7 outliers (×)\nscatter 5.799 px per axis" in said


def test_arrows_have_the_directions_of_the_residuals_and_a_key_in_pixels(instrument):
    stars = some_stars(instrument, 400)
    stars["DX"], stars["DY"] = np.full(400, 0.3), np.full(400, 0.4)
    figure = astrometric_residuals(stars, None, instrument)
    arrows = next(c for a in figure.axes for c in a.collections if isinstance(c, Quiver))
    assert_allclose(np.hypot(arrows.U, arrows.V)[:-1] / 0.5, arrows.U[-1] / 0.5)  # the key is the last one
    assert_allclose(arrows.V[:-1] / arrows.U[:-1], 4 / 3)
    assert "0.5 px" in texts(figure)
    assert "residual [px]" in bar_labels(figure)


def test_many_residuals_become_means(instrument):
    stars = some_stars(instrument, 30_000)
    figure = astrometric_residuals(stars, None, instrument)
    arrows = next(c for a in figure.axes for c in a.collections if isinstance(c, Quiver))
    assert "means of residuals" in texts(figure)
    assert len(arrows.U) < 1400
    assert figure.axes[0].images


def test_every_detector_has_its_scatter_from_the_solution_or_from_the_residuals(instrument):
    stars = some_stars(instrument, 3600)
    ccds = list(ccd_outlines(instrument))
    solution = {
        "CCD": np.array(ccds),
        "N": np.arange(36),
        "N_OUTLIERS": np.ones(36, int),
        "SCATTER": np.r_[np.nan, np.full(35, 0.25)],
    }
    told = astrometric_residuals(stars, solution, instrument)
    assert {"–\n0", "0.25\n1", "0.25\n35"} <= set(texts(told))
    assert "scatter [px]" in bar_labels(told)
    made = astrometric_residuals(stars, None, instrument)
    mine = np.array([instrument.quadrants[e].ccd for e in stars["EXT"]]) == "3-3"
    assert any(t.endswith(f"\n{mine.sum()}") and t.startswith(("0.09", "0.10", "0.1")) for t in texts(made))
    tiles = [c for a in made.axes for c in a.collections if isinstance(c, PolyCollection)]
    assert any(len(c.get_paths()) == 36 for c in tiles)


def test_flux_against_flux_has_the_median_ratio(instrument):
    stars = some_stars(instrument)
    stars["VFLUX"][0] = -5.0
    figure = astrometric_residuals(stars, None, instrument)
    ratio = np.median((stars["VFLUX"] / stars["GFLUX"])[1:])
    said = [t for t in texts(figure) if t.startswith("1,499 stars, median V/Gf")]
    assert abs(float(said[0].split()[-1]) - ratio) < 2e-4
    assert "BP − RP [mag]" in bar_labels(figure)


@pytest.mark.parametrize("flag", ["NO_REFERENCE", "FEW_MATCHES", "REFERENCE_FAILED"])
def test_an_exposure_without_a_solution_says_why(flag, toy):
    facts = SolutionFacts(flags=int(SolutionFlag[flag]), n=0, scatter=None)
    figure = astrometric_residuals(FRAT.empty(), SOLUTION.empty(), toy, facts)
    said = texts(figure)
    reason = SolutionFlag[flag].doc.split(";")[0]
    assert [" ".join(t.split()) for t in said].count(reason) == 5
    assert {"no residuals", "no fluxes", "no matched stars"} <= set(said)


def test_a_corrected_boresight_is_said(instrument):
    facts = SolutionFacts(flags=int(SolutionFlag.BORESIGHT_WRONG | SolutionFlag.NO_PROPER_MOTION))
    said = "\n".join(texts(astrometric_residuals(some_stars(instrument, 50), None, instrument, facts)))
    assert "off by more than 10" in said
    assert "no proper motions" in said


# --- ratio against colour -------------------------------------------------------------------------


def test_the_quoted_ratios_lie_on_the_curve_and_are_written_with_their_errors(instrument):
    stars = some_stars(instrument)
    figure = flux_ratio_colour(stars, a_relation(), some_moments(stars), gain="3", title="E")
    axes = figure.axes[0]
    said = texts(figure)
    assert axes.get_ylabel() == "V/Gf, ratio of VIS to Gaia flux"
    assert axes.get_yscale() == "log"
    assert "gain model 3" in said
    quoted = next(t for t in said if t.startswith("0.8863"))
    assert quoted.splitlines() == [
        "0.8863 ± 0.0021  at BP − RP 0.75",
        "1.1343 ± 0.0023  at BP − RP 1.75",
        "1.2601 ± 0.0045  at BP − RP 2.75",
        "rms 0.0340 in ln(V/Gf)",
    ]
    curve = next(line for line in axes.lines if len(line.get_xdata()) == 201)
    assert_allclose(curve.get_ydata(), np.exp(np.polyval(CURVE, curve.get_xdata())))
    used = stars["G"] < 19.5
    assert any(t.startswith(f"{used.sum()} stars in the fit") for t in said)
    inside = points_of(axes).get_offsets()
    assert len(inside) == used.sum()
    assert_allclose(inside[:, 1], (stars["VFLUX"] / stars["GFLUX"])[used])
    assert no_overlaps(figure)


def test_clipped_and_faint_stars_and_those_without_colour_are_counted(instrument):
    stars = some_stars(instrument, 200)
    stars["FLAGS"][:] = 0
    stars["FLAGS"][:3] = RatioFlag.CLIPPED
    stars["FLAGS"][3:8] = RatioFlag.FAINT
    stars["BpRp"][8:10] = np.nan
    masked = stars | {"BpRp": np.ma.masked_invalid(stars["BpRp"])}
    for table in (stars, masked):
        said = texts(flux_ratio_colour(table, a_relation()))
        assert "190 stars in the fit, 3 clipped (×), 5 faint (grey), 2 without ratio or colour" in said
        assert {"all: 198", "for the fit: 190"} <= set(said)


def test_sizes_have_their_straight_line(instrument):
    stars = some_stars(instrument, 300)
    moments = some_moments(stars)
    moments["R2"][:4] = 9.0
    linear = Sizes(**asdict(fit_size_relation(*(moments[n] for n in ("XWORLD", "YWORLD", "BpRp", "R2")))))
    figure = flux_ratio_colour(stars, a_relation(), moments, linear)
    axes = panels(figure)[-1]
    assert axes.get_ylabel().endswith("[px²]")
    line = next(line for line in axes.lines if len(line.get_xdata()) == 201)
    assert_allclose(line.get_ydata(), 1.85 + 0.06 * line.get_xdata(), atol=0.01)
    drawn = points_of(axes).get_offsets()  # what is left is the scatter about the line
    assert np.std(drawn[:, 1] - 1.85 - 0.06 * drawn[:, 0]) < 0.025
    said = next(t for t in texts(figure) if t.startswith("slope"))
    assert abs(float(said.split()[1]) - 0.06) < 0.01
    assert float(said.split()[3]) == pytest.approx(0.02 / np.sqrt(300) / np.std(stars["BpRp"]), rel=0.2)
    assert "300 stars, 4 beyond the edges" in texts(figure)
    assert "no fit of R2 to the colour" in texts(flux_ratio_colour(stars, a_relation(), moments))


@pytest.mark.parametrize(
    "relation",
    [
        None,
        {},
        {"colours": COLOURS, "ratios": [None] * 3, "errors": [None] * 3, "rms": None},  # as metadata has NaN
        {"colours": COLOURS, "ratios": [1.0, 0.0, 1.0]},
    ],
)
def test_no_relation_is_said_and_the_stars_still_drawn(relation, instrument):
    stars = some_stars(instrument, 30)
    relation = None if relation is None else Relation(**relation)
    figure = flux_ratio_colour(stars, relation, some_moments(stars))
    assert {"no colour relation: too few stars", "no colour relation"} <= set(texts(figure))
    assert len(points_of(figure.axes[0]).get_offsets()) == (stars["FLAGS"] == 0).sum()


def test_a_relation_without_errors_says_that_they_are_not_known(instrument):
    said = texts(flux_ratio_colour(some_stars(instrument, 30), a_relation(errors=[np.nan] * 3)))
    assert any("0.8863, error not known  at BP − RP 0.75" in t for t in said)


def test_strange_ratios_widen_the_axis_and_do_not_break_it(instrument):
    stars = some_stars(instrument, 50)
    stars["VFLUX"] *= np.where(np.arange(50) % 2, 1e6, 1e-6)
    stars["BpRp"][:10] = 1e8
    figure = flux_ratio_colour(stars, a_relation(), some_moments(stars))
    low, high = figure.axes[0].get_ylim()
    assert low < 1e-5
    assert high > 1e5
    draws(figure)


# --- hexagons -------------------------------------------------------------------------------------


def test_six_maps_show_number_ratio_magnitude_flux_and_scatter(instrument):
    losses = {"2-3": 0.015}
    stars = some_stars(instrument, 20_000, losses=losses)
    cells = hexagon_cells(stars, GRID)
    figure = RatioHexagons(instrument, GRID, gain="V").draw(cells, title="2024-07, long")
    over = "V/Gf over colour relation"
    assert bar_labels(figure) == [
        "stars per hexagon",
        f"mean {over}",
        f"mean {over}",
        "mean G [mag]",
        "mean log₁₀(V / ADU)",
        f"scatter of {over} [%]",
    ]
    tiles = [next(c for c in a.collections if isinstance(c, PolyCollection)) for a in panels(figure)]
    assert len(panels(figure)) == 6
    assert_array_equal(tiles[0].get_array(), cells["N"])
    middles = np.array([path.vertices[:6].mean(axis=0) for path in tiles[0].get_paths()])
    assert_allclose(middles, np.stack(GRID.centres(cells["SPACE_BIN"]), axis=1), atol=1e-9)
    wide, narrow = tiles[1].norm, tiles[2].norm
    assert wide.vmax - 1 == pytest.approx(1 - wide.vmin)
    assert narrow.vmax - narrow.vmin < 0.3 * (wide.vmax - wide.vmin)
    middles = np.array([path.vertices[:6].mean(axis=0) for path in tiles[2].get_paths()])
    f = ccd_outlines(instrument)["2-3"]
    mine = (np.abs(middles - [(f.x0 + f.x1) / 2, (f.y0 + f.y1) / 2]) < 0.04).all(axis=1)
    there = np.array([instrument.quadrants[e].ccd for e in stars["EXT"]]) == "2-3"
    assert abs(float(tiles[2].get_array()[mine].mean()) - stars["FRAT"][there].mean()) < 0.003
    corner = tiles[0].get_paths()[0].vertices
    assert_allclose(np.ptp(corner[:, 0]), GRID.width)
    said = texts(figure)
    assert any(f"20,000 stars in {len(cells['N']):,} hexagons, gain model V" in t for t in said)
    assert no_overlaps(figure)


def test_means_of_few_stars_are_not_drawn_but_their_number_is(instrument):
    cells = hexagon_cells(some_stars(instrument, 20_000), HexagonGrid(0.05))
    cells["N"][0], cells["MEAN_FRAT"][0] = 1, 3.0
    figure = RatioHexagons(instrument, HexagonGrid(0.05)).draw(cells)
    number, ratio = (
        next(c for c in a.collections if isinstance(c, PolyCollection)) for a in panels(figure)[:2]
    )
    assert len(number.get_array()) == len(cells["N"])
    assert ratio.get_array().max() < 2
    assert any("means only where there are" in t for t in texts(figure))


def test_maps_drawn_one_after_the_other_look_as_if_drawn_alone(instrument):
    many = hexagon_cells(some_stars(instrument, 5000), GRID)
    few = hexagon_cells(first_rows(some_stars(instrument), 1), GRID)
    some = hexagon_cells(some_stars(instrument, 800, losses={"2-3": 0.3}), GRID)
    maps = RatioHexagons(instrument, GRID, gain="V")
    for title, cells in (
        ("a day", many),
        ("none", RATIOS.empty()),
        ("another", some),
        ("one", few),
        ("", many),
    ):
        alone = RatioHexagons(instrument, GRID, gain="V").draw(cells, title=title)
        assert style.render_png(maps.draw(cells, title=title), made="then") == style.render_png(
            alone, made="then"
        ), title


def test_hexagons_of_nothing_or_one_star_say_so(instrument):
    of_ccds = ratio_rows(instrument) | {"N": np.full(36, 5)}
    for cells in (RATIOS.empty(), of_ccds):
        figure = RatioHexagons(instrument, GRID).draw(cells)
        assert texts(figure).count("no stars") == 6
        assert any("no stars in no hexagons" in t for t in texts(figure))
    one = RatioHexagons(instrument, GRID).draw(hexagon_cells(first_rows(some_stars(instrument), 1), GRID))
    assert any("1 star in 1 hexagon" in t for t in texts(one))
    assert "not known" in texts(one)  # its scatter
    draws(one)


# --- the sheet ------------------------------------------------------------------------------------


def test_every_detector_has_its_diagram_in_its_place(instrument):
    losses = {"2-3": 0.02}
    stars = some_stars(instrument, 6000, losses=losses)
    figure = ratio_sheet(
        stars, ratio_rows(instrument, losses), instrument, gain="none", title="2024-07, long"
    )
    assert len(panels(figure)) == 36
    outlines = ccd_outlines(instrument)
    places = {}
    for axes in panels(figure):
        name = next(t.get_text() for t in axes.texts if t.get_text()[:3] in outlines)[:3]
        box = axes.get_position()
        places[name] = (box.x0, box.y0)
    for a, fa in outlines.items():
        for b, fb in outlines.items():
            assert (places[a][0] < places[b][0] - 0.01) == (fa.x0 < fb.x0 - 0.03)
            assert (places[a][1] < places[b][1] - 0.01) == (fa.y0 < fb.y0 - 0.03)
    said = texts(figure)
    assert "2-3  900 in fit, 7 clipped" in said
    poor = 0.8863 * np.exp(-0.02)
    assert any(t.startswith(f"0.75: {poor:.4f} ± 0.0012  −2.0 %") for t in said)
    assert any(t.startswith("0.75: 0.8863 ± 0.0012  +0.0 %") for t in said)
    drawn = sum(len(axes.lines[0].get_xdata()) for axes in panels(figure))
    assert drawn == (stars["FLAGS"] == 0).sum()
    assert no_overlaps(figure)


def test_dense_clouds_become_images_of_one_scale_that_count_every_star(instrument):
    stars = some_stars(instrument, 40_000)
    stars["FLAGS"][:] = 0
    figure = ratio_sheet(stars, ratio_rows(instrument), instrument)
    images = [axes.images[0] for axes in panels(figure)]
    assert len({id(image.norm) for image in images}) == 1
    assert sum(image.get_array().filled(0).sum() for image in images) == 40_000
    assert bar_labels(figure) == ["stars per bin"]
    image = images[0].get_array().filled(0)
    assert image.max() <= images[0].norm.vmax


def test_the_sheet_of_a_small_camera_has_its_detectors(toy):
    figure = ratio_sheet(some_stars(toy, 400), None, toy)
    assert len(panels(figure)) == 4
    assert texts(figure).count("no colour relation") == 4
    draws(figure)


def test_an_empty_sheet_says_so_in_every_panel(instrument):
    figure = ratio_sheet(FRAT.empty(), RATIOS.empty(), instrument)
    assert texts(figure).count("no stars") == 36


def test_a_sheet_ignores_rows_of_other_places_and_ratios_not_known(toy):
    rows = ratio_rows(toy)
    rows["SPACE"][0] = "fpa"
    rows["R2"][1] = np.nan
    figure = ratio_sheet(some_stars(toy, 200), rows, toy)
    assert texts(figure).count("no colour relation") == 2


# --- little and bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "bad"), [(0, False), (1, False), (30, True)])
def test_little_or_bad_input_makes_a_picture_and_no_warning(n, bad, toy):
    stars = some_stars(toy, n)
    gaia, moments = reference_stars(n), some_moments(stars)
    cells = hexagon_cells(stars, GRID)
    for table in (stars, gaia, moments, cells):
        for name, values in table.items():
            if bad and values.dtype.kind == "f":
                table[name] = np.full(len(values), np.nan)
    for figure in (
        gaia_field(gaia, toy, BORESIGHT),
        astrometric_residuals(stars, None, toy),
        flux_ratio_colour(stars, None, moments),
        RatioHexagons(toy, GRID).draw(cells),
        ratio_sheet(stars, None, toy),
    ):
        draws(figure)


def test_stars_without_colours_are_said_to_be_so(toy):
    stars = some_stars(toy, 30)
    stars["BpRp"] = np.full(30, np.nan)
    figure = flux_ratio_colour(stars, a_relation(), some_moments(stars))
    assert "no star with colour and ratio" in texts(figure)
    assert "no stars in the fit, 30 without ratio or colour" in texts(figure)
    draws(figure)
    assert texts(ratio_sheet(stars, ratio_rows(toy), toy)).count("no stars") == 4
    assert any(t.startswith("30 stars, median V/Gf") for t in texts(astrometric_residuals(stars, None, toy)))


def test_tables_of_the_original_have_no_residuals_and_that_is_said(instrument):
    stars = some_stars(instrument, 100)
    del stars["DX"], stars["DY"], stars["FLAGS"]
    figure = astrometric_residuals(stars, None, instrument)
    assert "no matched stars" in texts(figure)
    assert any(t.startswith("100 stars, median V/Gf") for t in texts(figure))
    assert any(t.startswith("100 stars in the fit") for t in texts(flux_ratio_colour(stars, a_relation())))


def test_empty_tables_of_the_schemas_make_pictures(instrument):
    said = texts(flux_ratio_colour(FRAT.empty(), None, MOMENTS_COLOURS.empty(), Sizes()))
    assert {"no star with colour and ratio", "no colours", "no moments of stars with colour"} <= set(said)
    assert "no matched stars" in texts(astrometric_residuals(FRAT.empty(), SOLUTION.empty(), instrument))


# --- the real exposure ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(reference):
    folder = reference / "vis_20240713"
    names = {"frat": "_frat.txt", "gaia": "_stars2_gaia.cat", "moments": "_stars2_mom_col.cat"}
    return {name: read_text(folder / f"{EXPOSURE}{suffix}") for name, suffix in names.items()}


def test_the_real_field_has_its_stars_and_directions(real, instrument):
    figure = gaia_field(real["gaia"], instrument, BORESIGHT, title=EXPOSURE)
    assert any(t.startswith("2,615 reference stars, ") for t in texts(figure))
    assert "RA 56.246°\nDec −55.714°\nPA 46.218°" in texts(figure)
    arrows = next(c for axes in figure.axes for c in axes.collections if isinstance(c, Quiver))
    assert arrows.U[0] > 0.6  # north to the lower right, as the picture people know
    assert arrows.V[0] < -0.6


def test_the_real_ratios_lie_about_the_relation_of_the_original(real):
    frat = dict(real["frat"])
    frat["FLAGS"] = np.where(frat["G"] < 19.5, 0, int(RatioFlag.FAINT))
    figure = flux_ratio_colour(frat, a_relation(), real["moments"], gain="3", title=EXPOSURE)
    assert any(t.startswith("327 stars in the fit, 395 faint") for t in texts(figure))
    points = points_of(figure.axes[0]).get_offsets()
    left = np.log(points[:, 1]) - np.polyval(CURVE, points[:, 0])
    assert abs(np.ma.median(left)) < 0.01
    assert no_overlaps(figure)


def test_the_real_residuals_are_a_picture(real, instrument):
    frat = dict(real["frat"])
    gaia = real["gaia"]
    rows = [int(np.argmin(np.abs(gaia["G"] - g))) for g in frat["G"]]
    for shift, mine, theirs in (("DX", "XWORLD", "RAV"), ("DY", "YWORLD", "DECV")):
        frat[shift] = (frat[mine] - gaia[theirs][rows]) * 36000
    facts = SolutionFacts(n=715, n_outliers=7, scatter=5.799)
    figure = astrometric_residuals(frat, None, instrument, facts, title=EXPOSURE)
    assert any(t.startswith("722 stars, median V/Gf") for t in texts(figure))
    assert len([t for t in texts(figure) if "\n" in t and t.split("\n")[-1].isdigit()]) == 36
