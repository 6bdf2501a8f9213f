"""Pipeline performance: times that products tell of themselves, and their picture."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from visql_lib.cli.performance import command
from visql_lib.config import Settings
from visql_lib.errors import TableError
from visql_lib.pictures.style import render_png
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.pictures.performance import duration, observing_days, pipeline_performance
from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.pipelines.vis.schemas.performance import (
    PERFORMANCE,
    creation_of_picture,
    creation_of_table,
    time_of,
)
from visql_lib.pipelines.vis.schemas.radiation import RADIATION, RADIATION_MAPS
from visql_lib.pipelines.vis.stages import performance as stage
from visql_lib.products.context import Context
from visql_lib.sheets.sheet import SheetRow, write_sheet
from visql_lib.tables import read_table, write_table
from visql_lib.tables.provenance import checksum_of, read_record
from visql_lib.tables.schema import TableSchema

DAY = np.datetime64("2024-07-13")
START = datetime(2024, 7, 13, 3, 28, 40, tzinfo=UTC)
Columns = dict[str, NDArray]


def row_of(exposure: str, start: str, **more: Any) -> SheetRow:
    empty = dict.fromkeys(SheetRow.__dataclass_fields__, "")
    numbers = dict.fromkeys(("exptime", "ra", "dec", "pa", "saa", "alpha"), 1.0) | {"size": 1, "mtime": 1}
    known = {"exposure": exposure, "date_obs": start, "frame_type": "SCIENCE", "status": "ok"}
    return SheetRow(**(empty | numbers | known | more))  # type: ignore[arg-type]


def write_png(path: Path, **texts: str) -> None:
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key.replace("_", " "), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path, pnginfo=info)


def write_told(path: Path, schema: TableSchema, made: str | None, **more: str) -> None:
    """Write a table that tells this time, or none, whatever tables usually tell."""
    write_table(path, schema.empty(), schema, meta=more)
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[b"visql"]) | {"made": made}
    kept = {key: value for key, value in meta.items() if value is not None}
    pq.write_table(table.replace_schema_metadata({b"visql": json.dumps(kept)}), path)


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """A month of two exposures with products, one without."""
    sheet, folder = tmp_path / "exposures" / "202407.tsv", tmp_path / "exposures" / "202407"
    sheet.parent.mkdir()
    rows = [
        row_of("E1", "2024-07-13T03:28:40.000"),
        row_of("E2", "2024-07-12T03:28:40.000", frame_type="DARK"),
        row_of("E3", "2024-07-13T01:00:00.000", frame_type="BIAS"),
        row_of("E4", "2024-07-13T02:00:00.000", status="growing"),
    ]
    write_sheet(sheet, rows)
    later = (START + timedelta(hours=2.5)).isoformat()
    write_told(folder / "E1" / "E1_rad.parquet", RADIATION, later)
    write_told(folder / "E1" / "E1_radmaps.parquet", RADIATION_MAPS, None)
    write_png(folder / "E1" / "E1_rf.png", Creation_Time="2024-07-13T08:28:40+02:00")
    write_png(folder / "E1" / "E1.png", Software="VISQL", Creation_Time="2024-07-13T07:28:40")
    write_png(folder / "E1" / "E1_ll.png", Software="VISQL")
    write_told(folder / "E2" / "E2_rad.parquet", RADIATION, later, failed="no quadrants")
    (folder / "E2" / "E2.cat.parquet").write_bytes(b"no table")
    (folder / "E2" / "E2_rf.png").write_bytes(b"no picture")
    for path in folder.rglob("*.*"):
        os.utime(path, (0, 0))  # times of files do not count
    return sheet


def month_performance(sheet: Path) -> Columns:
    context = Context.of(REGISTRY["performance"], Settings())
    return stage.run(context, stage.PerformanceInputs(MonthFiles.of_sheet(sheet))).columns


def rows_of(table: Columns) -> list[tuple]:
    columns = (table[n].tolist() for n in ("EXPOSURE", "PRODUCT", "MADE", "LATENCY"))
    return list(zip(*columns, strict=True))


def test_month(sheet: Path, caplog: pytest.LogCaptureFixture) -> None:
    start = START.replace(tzinfo=None)
    found = rows_of(month_performance(sheet))
    assert [row[:2] for row in found] == [
        ("E2", "raw"),
        ("E3", "raw"),
        ("E1", "raw"),
        ("E1", "radiation"),
        ("E1", "radiation_maps"),
        ("E1", "rf.png"),
        ("E1", "thumbnail.png"),
    ]
    made = {row[1]: row[2:] for row in found if row[0] == "E1"}
    assert made["raw"] == (start, 0.0)
    assert made["radiation"] == (start + timedelta(hours=2.5), 2.5)
    assert made["rf.png"] == (start + timedelta(hours=3), 3.0)
    assert made["thumbnail.png"] == (start + timedelta(hours=4), 4.0)
    assert "E2.cat.parquet" in caplog.text
    assert "E2_rf.png" in caplog.text


def test_a_table_without_a_time_says_so(sheet: Path) -> None:
    found = month_performance(sheet)
    row = found["PRODUCT"] == "radiation_maps"
    assert np.isnat(found["MADE"][row]).all()
    assert np.isnan(found["LATENCY"][row]).all()


def test_command(sheet: Path, tmp_path: Path) -> None:
    output, pictures = tmp_path / "performance_202407.parquet", tmp_path / "pictures"
    arguments = [str(sheet), "-o", str(output), "--pictures", str(pictures)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    table = read_table(output)
    assert tuple(table) == PERFORMANCE.names
    assert table.meta["stage"] == "performance"
    assert table.n_rows == 7
    names = ["pipelineperf_20240712.png", "pipelineperf_20240713.png"]
    assert sorted(p.name for p in pictures.iterdir()) == names
    made_from = {os.path.relpath(output, pictures): checksum_of(output)}  # not all products of the month
    assert all(read_record(path)["inputs"] == made_from for path in pictures.iterdir())
    assert len(read_record(output)["inputs"]) > 2


def test_empty_month(tmp_path: Path) -> None:
    sheet = tmp_path / "exposures" / "202407.tsv"
    sheet.parent.mkdir()
    write_sheet(sheet, [])
    found = month_performance(sheet)
    assert all(len(column) == 0 for column in found.values())
    assert observing_days(found) == []


# ---------------------------------------------------------------- what files tell


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-07-13T03:28:40", "2024-07-13T03:28:40"),
        ("2024-07-13T03:28:40.123456+00:00", "2024-07-13T03:28:40.123456"),
        ("2024-07-13T03:28:40Z", "2024-07-13T03:28:40"),
        ("2024-07-13T05:28:40+02:00", "2024-07-13T03:28:40"),
        ("Sat, 13 Jul 2024", "NaT"),
        (None, "NaT"),
        ("", "NaT"),
    ],
)
def test_times(text: str | None, expected: str) -> None:
    assert str(time_of(text)) == str(np.datetime64(expected, "us"))


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_times_come_back(time: datetime) -> None:
    assert time_of(time.isoformat()).astype(datetime) == time.replace(tzinfo=None)


def test_pictures_tell(tmp_path: Path) -> None:
    path = tmp_path / "E1_iq.png"
    write_png(path, Software="VISQL", Comment="x" * 100_000, Creation_Time="2024-07-13T03:28:40Z")
    made = creation_of_picture(path, "E1")
    assert (made.product, made.made) == ("iq.png", np.datetime64("2024-07-13T03:28:40", "us"))
    path.write_bytes(path.read_bytes()[:40])  # cut short
    assert np.isnat(creation_of_picture(path, "E1").made)
    with pytest.raises(TableError, match="cannot be read"):
        creation_of_picture(tmp_path / "none.png", "E1")
    with pytest.raises(TableError, match=r"cannot be read|not a Parquet"):
        creation_of_table(tmp_path / "none.parquet")


# ---------------------------------------------------------------- the picture


def performance(n: int, products: tuple[str, ...], hours: float = 2.0, day: np.datetime64 = DAY) -> Columns:
    """Return `n` exposures over a day whose products come `hours` later, one after the other."""
    rows = []
    for i in range(n):
        start = day.astype("datetime64[us]") + np.timedelta64(int(i * 86400e6 / n), "us")
        rows.append((f"E{i}", start, "raw", start))
        for k, product in enumerate(products):
            later = np.timedelta64(int((hours + 0.1 * k) * 3600e6), "us")
            rows.append((f"E{i}", start, product, start + later))
    exposure, start, product, made = (list(column) for column in zip(*rows, strict=True))
    times = np.array(start, "datetime64[us]"), np.array(made, "datetime64[us]")
    table = {"EXPOSURE": np.array(exposure), "DATE_OBS": times[0], "PRODUCT": np.array(product)}
    return table | {"MADE": times[1], "LATENCY": (times[1] - times[0]).astype(float) / 3600e6}


def texts(figure: Figure) -> list[str]:
    """Return the lines of the legend."""
    legends = [axes.get_legend() for axes in figure.axes]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def render(figure: Figure) -> NDArray:
    """Render a figure small, which is quick, and check that labels could be made."""
    return np.asarray(Image.open(io.BytesIO(render_png(figure, 40))))


def test_curves_count_products() -> None:
    table = performance(48, ("catalogue", "stars"))
    figure = pipeline_performance(table, DAY)
    assert texts(figure) == ["raw frames: 48", "catalogue: 48, after 2 h", "stars: 48, after 2.1 h"]
    top, bottom = figure.axes
    raw, catalogue, _ = top.get_lines()
    assert raw.get_xdata()[1] == np.datetime64("2024-07-13").astype(float)  # matplotlib's days
    np.testing.assert_allclose((catalogue.get_xdata() - raw.get_xdata())[1:-1], 2 / 24, atol=1e-6)
    assert catalogue.get_ydata().tolist() == [*range(49), 48]
    assert [t.get_text() for t in bottom.get_yticklabels()] == ["catalogue", "stars"]
    assert render(figure).std() > 5


def test_other_days_are_left_out() -> None:
    parts = [performance(5, ("catalogue",)), performance(3, ("catalogue",), day=DAY + 1)]
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    assert observing_days(table) == [DAY, DAY + 1]
    assert texts(pipeline_performance(table, DAY + 1)) == ["raw frames: 3", "catalogue: 3, after 2 h"]


def test_pictures_count_when_the_last_is_there() -> None:
    table = performance(4, ("catalogue", "a.png", "b.png", "c.png"), hours=1.0)
    assert texts(pipeline_performance(table, DAY))[-1] == "pictures (all of an exposure): 4, after 1.3 h"


def test_the_axis_is_broken_where_nothing_happened() -> None:
    figure = pipeline_performance(performance(10, ("catalogue",), hours=20000.0), DAY)
    first, second, _ = figure.axes
    assert first.get_xlim()[1] < second.get_xlim()[0] - 800
    assert first.get_xlim()[1] - first.get_xlim()[0] < 1.2
    assert second.get_xlim()[1] - second.get_xlim()[0] < 1.2
    assert first.get_ylim() == second.get_ylim()
    assert texts(figure)[-1] == "catalogue: 10, after 2.28 yr"
    render(figure)


def test_products_without_a_time_are_counted() -> None:
    table = performance(4, ("catalogue", "stars"))
    lost = table["PRODUCT"] == "stars"
    table["MADE"][lost], table["LATENCY"][lost] = np.datetime64("NaT"), np.nan
    figure = pipeline_performance(table, DAY)
    assert len(texts(figure)) == 2
    assert any(t.get_text() == "4 products without a time" for t in figure.axes[0].texts)


def test_many_products_stay_legible() -> None:
    figure = pipeline_performance(performance(6, tuple(f"p{i:02d}" for i in range(40))), DAY)
    lines = {
        (line.get_color(), str(line.get_linestyle()), line._dash_pattern[1] and tuple(line._dash_pattern[1]))
        for line in figure.axes[0].get_lines()
    }
    assert len(texts(figure)) == len(lines)  # no two look the same
    assert any("kinds of products not shown" in t.get_text() for t in figure.axes[0].texts)
    legend = figure.axes[0].get_legend()
    figure.canvas.draw()
    box = legend.get_window_extent().transformed(figure.transFigure.inverted())
    assert box.x1 <= 1
    assert box.y0 >= 0


@pytest.mark.parametrize("n", [1, 1800])
def test_numbers_of_exposures(n: int) -> None:
    assert render(pipeline_performance(performance(n, ("catalogue", "x.png")), DAY)).std() > 5


def test_no_exposures() -> None:
    figure = pipeline_performance(PERFORMANCE.empty(), DAY)
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert said == ["no exposures", "no products"]
    render(figure)


def test_clocks_that_are_wrong() -> None:
    table = performance(5, ("catalogue",), hours=-3.0)
    figure = pipeline_performance(table, DAY)
    assert texts(figure)[-1] == "catalogue: 5, after −3 h"
    render(figure)


@given(hours=st.floats(1e-3, 1e6))
@settings(max_examples=40)
def test_durations_come_back(hours: float) -> None:
    number, unit = duration(hours).split()
    length = {"min": 1 / 60, "h": 1, "d": 24, "yr": 8766}[unit]
    assert float(number) * length == pytest.approx(hours, rel=0.006)


@given(hours=st.lists(st.floats(-10, 1e6), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_latencies_are_in_view(hours: list[float]) -> None:
    parts = [performance(1, ("catalogue",), hours=h) for h in hours]
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    axes = pipeline_performance(table, DAY).axes[-1]
    low, high = axes.get_xlim()
    assert low < high
    for line in axes.get_lines():
        assert (low <= np.atleast_1d(line.get_xdata())).all()
        assert (np.atleast_1d(line.get_xdata()) <= high).all()
    shown = [t for t in axes.get_xticks() if low <= t <= high]
    assert 2 <= len(shown) <= 10
