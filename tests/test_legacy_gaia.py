"""The original's text tables of Gaia stars, astrometry and flux ratios."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from visql_lib.errors import LegacyFormatError
from visql_lib.flags import MomentFlag, RatioFlag
from visql_lib.instruments.model import load_instrument
from visql_lib.photometry.aggregate import select
from visql_lib.pipelines.vis.legacy import gaia as lg
from visql_lib.pipelines.vis.legacy import importing
from visql_lib.pipelines.vis.legacy.imported import ImportedRow, imported_rows, merge_imported
from visql_lib.pipelines.vis.legacy.read import read_exposure_times, read_moments_with_colours
from visql_lib.pipelines.vis.schemas.gaia import FRAT, MOMENTS_COLOURS, RATIOS
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context

VIS = load_instrument("euclid_vis")
EXPTIMES = dict(VIS.exposure_classes)
EXAMPLE = "vis_20240713/C_20240713_032840_W_52167482.VIS.bin_01_01"
LONG, DAILY = "vis_202407/vis-over-gaia-202407_long.txt", "vis_202407/vis-over-gaia-20240711-ccd_short.txt"
E1, E2 = (f"C_20230405_06070{i}_W_0123456{i}.VIS.bin_01_01" for i in (1, 2))
LINE = f"{E1}_stars2_mom.cat VIS/GaiaBpRp 0.75 1.75 2.75  0.8800  1.1300  1.2600    560.52\n"


def cells(rows):
    """Rows of the table of ratios: time, its bin, date, space, its bin, class, ratio at the middle."""
    names = ("TIME", "TIME_BIN", "DATE", "SPACE", "SPACE_BIN", "CLASS", "R2")
    table = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    n = len(rows)
    table |= {"R1": table["R2"] - 0.25, "R3": table["R2"] + 0.125, "FIELD": np.full(n, "all")}
    table["DATE"] = table["DATE"].astype("datetime64[us]")
    for c in RATIOS.columns:
        table.setdefault(c.name, np.zeros(n))
    return RATIOS.cast(table)


MONTH = cells(
    [
        ("exposure", E1, "2023-04-05", "fpa", "fpa", "long", 1.13),
        ("exposure", E2, "2023-04-05", "fpa", "fpa", "long", np.nan),
        ("exposure", E2, "2023-04-05", "block", "1234", "short", 1.12),
        ("day", "2023-04-05", "2023-04-05", "quadrant", "1-1.E", "long", 1.2),
        ("day", "2023-04-05", "2023-04-05", "ccd", "6-1", "long", 1.1),
        ("day", "2023-04-05", "2023-04-05", "hexagon", "0,2", "long", 1.1),
        ("day", "2023-05-05", "2023-05-05", "ccd", "6-1", "long", 1.1),
        ("month", "2023-04", "2023-04-10", "quadrant", "1-1.E", "short", 1.05),
        ("month", "2023-04", "2023-04-10", "ccd", "2-3", "short", 1.0),
    ]
)


# Real files, byte for byte.


@pytest.mark.parametrize(
    ("ending", "read", "write"),
    [
        ("stars2_gaia.cat", lg.read_gaia_stars, lg.write_gaia_stars),
        ("x_gaia_dxdy.txt", lg.read_solution, lambda path, found: lg.write_solution(path, *found)),
        ("frat.txt", lg.read_frat, lg.write_frat),
        ("stars2_mom_col.cat", read_moments_with_colours, lg.write_moments_with_colours),
    ],
)
def test_real_tables_of_an_exposure_come_back(reference, tmp_path, ending, read, write):
    path = reference / f"{EXAMPLE}_{ending}"
    write(tmp_path / "again", read(path))
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("name", "header"), [(LONG, False), (DAILY, True)])
def test_real_tables_of_ratios_come_back(reference, tmp_path, name, header):
    path = reference / name
    lines = lg.read_ratio_lines(path)
    lg.write_ratio_lines(tmp_path / "again", lines, header=header)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    # The same through our table of ratios.
    rows = lg.ratios_of_lines(path, lines, VIS)
    (written,) = lg.write_month_of_ratios(tmp_path, "202407", rows, EXPTIMES)
    assert written.name == path.name
    assert written.read_bytes() == path.read_bytes()


def test_a_real_month_joins_the_timeline(reference):
    path = reference / LONG
    rows = lg.ratios_of_lines(path, lg.read_ratio_lines(path), VIS)
    line = select(rows, time="exposure", space="fpa", cls="long", field="all")
    assert len(line["DATE"]) == 568 == len(rows["DATE"])
    assert line["DATE"][0] == np.datetime64("2024-07-01T00:10:45")
    assert (np.diff(line["DATE"]) > np.timedelta64(0)).all()
    assert_allclose([line[f"R{i}"].mean() for i in (1, 2, 3)], [0.887, 1.131, 1.267], atol=0.005)
    assert np.isnan(rows["R1_ERR"]).all()
    assert set(read_exposure_times(path)) == set(line["TIME_BIN"].tolist())


def test_a_real_day_has_blocks_ccds_and_quadrants(reference):
    path = reference / DAILY
    rows = lg.ratios_of_lines(path, lg.read_ratio_lines(path), VIS)
    assert set(rows["TIME"]) == {"day"}
    assert set(rows["TIME_BIN"]) == {"2024-07-11"}
    assert set(rows["CLASS"]) == {"short"}
    by_ccd = select(rows, space="ccd")
    by_quadrant = select(rows, space="quadrant")
    assert set(by_ccd["SPACE_BIN"].tolist()) == set(VIS.ccds)
    assert set(by_quadrant["SPACE_BIN"].tolist()) == set(VIS.quadrants)
    assert len(select(rows, space="block")["R1"]) == 9
    # A CCD's ratio is that of its quadrants together: names of both mean the same places.
    of = np.char.partition(by_quadrant["SPACE_BIN"], ".")[:, 0]
    means = [by_quadrant["R2"][of == ccd].mean() for ccd in by_ccd["SPACE_BIN"].tolist()]
    assert_allclose(by_ccd["R2"], means, atol=0.006)


# Formats.


def test_the_line_of_ratios(tmp_path):
    path = tmp_path / "vis-over-gaia-202304_long.txt"
    path.write_text(LINE)
    (line,) = lg.read_ratio_lines(path)
    assert line == lg.RatioLine(
        f"{E1}_stars2_mom.cat", "VIS/GaiaBpRp", (0.75, 1.75, 2.75), (0.88, 1.13, 1.26), 560.52
    )
    rows = lg.ratios_of_lines(path, [line], VIS, selfcal={E1})
    assert rows["FIELD"].tolist() == ["all", "selfcal"]
    assert rows["CLASS"].tolist() == ["long", "long"]


def test_the_files_of_a_month(tmp_path):
    found = {
        path.name: path.read_text() for path in lg.write_month_of_ratios(tmp_path, "202304", MONTH, EXPTIMES)
    }
    header = "# MOMENTS_CATALOGUE RATIONAME BpRp1 BpRp2 BpRp3 VoverG1 VoverG2 VoverG3 EXPTIME\n"
    day = "C_ALL20230405_long_stars2_mom.cat"
    assert found == {
        "vis-over-gaia-202304_long.txt": LINE.replace("1.2600", "1.2550"),
        "vis-over-gaia-202304-3x3_short.txt": header
        + f"{E2}_stars2_mom.cat 1234VIS/Gaia 0.75 1.75 2.75  0.8700  1.1200  1.2450     89.52\n",
        "vis-over-gaia-20230405-ccd_long.txt": header
        + f"{day} CCD61VIS/Gaia 0.75 1.75 2.75  0.8500  1.1000  1.2250    560.52\n"
        + f"{day} 1-1.EVIS/Gaia 0.75 1.75 2.75  0.9500  1.2000  1.3250    560.52\n",
    }
    (path,) = lg.write_colour_fits(tmp_path, "202304", MONTH, EXPTIMES)
    assert path.name == "visgaiacolour_SHORT_202304.txt"
    names = [line.name for line in lg.read_ratio_lines(path)]
    assert names == ["CCD23VIS/Gaia", "1-1.EVIS/Gaia"]
    rows = lg.ratios_of_lines(path, lg.read_ratio_lines(path), VIS)
    assert set(rows["TIME_BIN"]) == {"2023-04"}
    assert rows["DATE"][0] == np.datetime64("2023-04-16")


def test_exposures_that_are_not_accepted_are_not_written(tmp_path):
    rejected = MONTH | {"FLAGS": np.full(len(MONTH["FLAGS"]), RatioFlag.NOT_ACCEPTED.value)}
    assert lg.write_month_of_ratios(tmp_path, "202304", rejected, EXPTIMES) == []


def test_stars_without_colour_or_ratio_stay_out(tmp_path):
    stars = {"RAV": np.array([0.1, -0.2]), "DECV": np.zeros(2), "G": np.array([20.0, 19.0])}
    stars |= {"G_ERR": np.full(2, 0.01), "BP_RP": np.array([np.nan, 1.5])}
    stars["SOURCE_ID"] = np.array([1, 4731533929719117953])
    lg.write_gaia_stars(tmp_path / "g.cat", stars)
    assert (tmp_path / "g.cat").read_text().splitlines()[1:] == [
        "-0.2 0.0 19.000000 0.01 1.0 1.0 1.0 1.0 4731533929719117953 1.0 1.500000"
    ]
    assert lg.read_gaia_stars(tmp_path / "g.cat")["SOURCE_ID"][0] == 4731533929719117953
    frat = {c.name: np.ones(3) for c in FRAT.columns} | {"EXT": np.array(["1-1.E", "1-1.F", "1-1.G"])}
    frat |= {"FRAT": np.array([1.0, np.nan, 1.1]), "XWORLD": np.full(3, 0.12345678)}
    lg.write_frat(tmp_path / "frat.txt", frat)
    found = lg.read_frat(tmp_path / "frat.txt")
    assert_array_equal(found["EXT"], ["1-1.E", "1-1.G"])
    assert_array_equal(found["XWORLD"], 0.123457)
    assert set(found) == set(FRAT.names)
    assert np.isnan(found["FLUXERR"]).all()


def test_moments_are_rounded_as_in_the_table_without_colours(tmp_path):
    moments = {c.name: np.full(3, 123.456789) for c in MOMENTS_COLOURS.columns}
    moments |= {"EXT": np.array(["1-1.E"] * 3), "FLAGS": np.array([0, MomentFlag.NO_FLUX, 0])}
    moments["BpRp"] = np.array([1.25, 1.0, np.nan])
    lg.write_moments_with_colours(tmp_path / "m.cat", moments)
    text = (tmp_path / "m.cat").read_text().splitlines()
    assert text[0].startswith("# EXT XWORLD YWORLD FLUX FLUXERR")
    start = "1-1.E 123.456789 123.456789 123.457 123.5 123.457 123.456789"
    end = " 123.456789 1.25"
    assert text[1:] == [start + 4 * " 123.4568" + " 123.457" + 7 * " 123.45679" + end]
    assert read_moments_with_colours(tmp_path / "m.cat")["BpRp"].tolist() == [1.25]


def test_a_solution_without_ratios(tmp_path):
    solution = lg.LegacySolution("a", "b", 7, 1.5, -0.25, 0.5, 1.0, 2.0, 3.0, -4.0)
    lg.write_solution(tmp_path / "s.txt", solution)
    assert lg.read_solution(tmp_path / "s.txt") == (solution, None)


# What is refused.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LINE.replace("0.8800 ", ""), "line 1: expected catalogue, ratio's name and seven numbers"),
        (LINE.replace("VIS/GaiaBpRp", "R2"), "line 1: expected catalogue"),
        (LINE.replace("0.8800", "zero"), "line 1: 'zero' is not a number"),
        (LINE.rstrip(), "cut short"),
        (LINE.replace("VIS/GaiaBpRp", "CCD1VIS/Gaia"), "'CCD1VIS/Gaia' is no part of the focal plane"),
        (
            LINE.replace(E1, "C_ALL20231305_long"),
            "'C_ALL20231305_long_stars2_mom.cat' is no table of moments",
        ),
        (LINE.replace(E1, "C_1"), "'C_1_stars2_mom.cat' is no table of moments"),
        (LINE.replace("0.75", "0.80"), r"ratios at BP-RP \(0.8, 1.75, 2.75\)"),
    ],
)
def test_ratios_that_are_not_understood(tmp_path, text, message):
    path = tmp_path / "vis-over-gaia-202304_long.txt"
    path.write_text(text)
    with pytest.raises(LegacyFormatError, match=message):
        lg.ratios_of_lines(path, lg.read_ratio_lines(path), VIS)


def test_tables_that_are_not_understood(tmp_path):
    path = tmp_path / "x"
    path.write_text(LINE)
    with pytest.raises(
        LegacyFormatError, match="expected one solution and at most one line of ratios, found 0 and 1"
    ):
        lg.read_solution(path)
    with pytest.raises(LegacyFormatError, match="expected the header '# EXT XWORLD"):
        lg.read_frat(path)
    path.write_text(f"# {' '.join(lg.GAIA_STARS_COLUMNS)}\n0 0 20.0 0.01 1.0 1.0 1.0 1.0 7.5 1.0 1.0\n")
    with pytest.raises(LegacyFormatError, match="ID is no number"):
        lg.read_gaia_stars(path)


def test_tables_without_rows(tmp_path):
    empty = lg.ratios_of_lines(tmp_path / "none", [], VIS)
    assert len(RATIOS.cast(empty)["TIME"]) == 0
    assert lg.write_month_of_ratios(tmp_path, "202304", empty, EXPTIMES) == []
    lg.write_frat(tmp_path / "frat.txt", FRAT.empty())
    assert len(lg.read_frat(tmp_path / "frat.txt")["EXT"]) == 0
    stars = {name: np.zeros(0) for name in ("RAV", "DECV", "G", "G_ERR", "SOURCE_ID", "BP_RP")}
    lg.write_gaia_stars(tmp_path / "g.cat", stars)
    assert len(lg.read_gaia_stars(tmp_path / "g.cat")["G"]) == 0


def test_an_exposure_time_that_only_flux_ratios_tell_gets_into_the_sheet(tmp_path):
    """Stages take exposure times from the sheet, and that of an imported exposure from its imported row."""
    name = "C_20230405_060700_W_01234567.VIS.bin_01_01"
    folder, results = tmp_path / "old", tmp_path / "results"
    folder.mkdir()
    frat = {c.name: np.ones(2) for c in FRAT.columns} | {"EXT": np.array(["1-1.E", "1-1.F"])}
    lg.write_frat(folder / f"{name}_frat.txt", frat | {"TEXP": np.full(2, 89.52)})
    context, inputs = (
        Context.using(VisSettings(), importing.SETTINGS),
        importing.ImportInputs(folder, results),
    )
    importing.run(context, inputs)
    assert not imported_rows(results, "202304"), "nothing but flux ratios: no exposure of the sheet"
    merge_imported(results, "202304", [ImportedRow(name, archive_name="A", has_moments=True)])
    for _ in range(2):
        assert not importing.run(context, inputs).broken
        row = imported_rows(results, "202304")[name]
        assert (row.exptime, row.archive_name) == (89.52, "A")
