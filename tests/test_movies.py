"""Movies: what a frame shows, which frames are drawn again, what is encoded."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from visql_lib.cli.movie import command
from visql_lib.errors import VisqlError
from visql_lib.instruments import load_instrument
from visql_lib.movies.bins import BinImage
from visql_lib.movies.encode import encode_piece, encoder, write_movie
from visql_lib.movies.errors import MovieError
from visql_lib.movies.text import FastText
from visql_lib.pictures import style
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.pictures.movie import FrameFacts, MovieCanvas, frame_size, grid_of
from visql_lib.pipelines.vis.pictures.movie_goes import FLUXES, series_line
from visql_lib.pipelines.vis.schemas.radiation import ANGLES, GOES_SERIES, RADIATION_MAPS
from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata
from visql_lib.pipelines.vis.settings import RadiationSettings
from visql_lib.pipelines.vis.stages.movie import GoesDays, movie_exposures, read_angles
from visql_lib.radiation.maps import map_grids
from visql_lib.sheets.sheet import SheetRow, write_sheet
from visql_lib.tables import read_table, write_table
from visql_lib.tables.provenance import actual_checksum, read_record

VIS = load_instrument("euclid_vis")
WIDTH = 320  # px, small to be quick
START = np.datetime64("2024-07-13T03:28:40", "us")
GRIDS = {
    name: grid.meta for name, grid in map_grids(RadiationSettings().bins, 0.4, VIS.nominal_pixel).items()
}
META = RadiationMetadata(grids=GRIDS)
Columns = dict[str, NDArray]


def maps_of(seed: int = 1) -> Columns:
    """Return some bins of every map."""
    random = np.random.default_rng(seed)
    names = np.repeat(list(GRIDS), 800)
    return {
        "MAP": names,
        "IX": random.integers(10, 96, len(names)),
        "IY": random.integers(10, 96, len(names)),
        "N": random.integers(1, 200, len(names)),
    }


def goes_of(day: str, *, cadence: int = 60, level: float = 1e-7) -> Columns:
    """Return a day of a calm Sun."""
    n = 86400 // cadence
    return {
        "TIME": np.datetime64(day, "us") + np.arange(n) * np.timedelta64(cadence, "s"),
        "XRSA": np.full(n, level, np.float32),
        "XRSB": np.full(n, 10 * level, np.float32),
        "GOOD": np.ones(n, bool),
        "SATELLITE": np.full(n, "GOES-16"),
    }


def row_of(exposure: str, start: str, frame_type: str = "SCIENCE", **more: Any) -> SheetRow:
    empty = dict.fromkeys(SheetRow.__dataclass_fields__, "")
    numbers = {"exptime": 560.5, "ra": 10.0, "dec": 20.0, "pa": 30.0, "saa": 91.66, "alpha": -4.52}
    known = {"exposure": exposure, "date_obs": start, "frame_type": frame_type, "status": "ok"}
    return SheetRow(**(empty | numbers | {"size": 1, "mtime": 1} | known | more))  # type: ignore[arg-type]


class Month:
    """A sheet, maps beside it, GOES, angles, settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sheet, self.cache = folder / "exposures" / "202407.tsv", folder / "frames"
        self.movie, self.goes, self.angles = folder / "X.mp4", folder / "goes", folder / "angles.parquet"
        self.said = ""
        self.config = folder / "config.yaml"
        self.rows = [
            row_of("late", "2024-07-13T12:00:00.000"),
            row_of("dark", "2024-07-13T03:28:40.000", "DARK", exptime=100.0),
            row_of("early", "2024-07-10T01:00:00.000"),
            row_of("flat", "2024-07-13T05:00:00.000", "FLAT"),
            row_of("nomaps", "2024-07-13T06:00:00.000"),
        ]

    def make(self) -> Month:
        self.sheet.parent.mkdir(parents=True)
        self.config.write_text(f"movies: {{width: {WIDTH}}}\n")
        write_sheet(self.sheet, self.rows)
        for seed, name in enumerate(("late", "dark", "early", "flat")):
            self.write_maps(name, seed)
        for day in ("2024-07-12", "2024-07-13"):
            write_table(self.goes / f"goes_{day}.parquet", goes_of(day), GOES_SERIES)
        angles: Columns = {c.name: np.zeros(1) for c in ANGLES.columns}
        angles |= {n: np.array(["Earth"]) for n in ("IMG_T1", "IMG_T2", "ANGLE_SOURCE", "POINTING_SOURCE")}
        angles |= {"EXPOSURE": np.array(["dark"]), "DATE_OBS": np.array([START]), "SAA": np.array([87.5])}
        angles |= {"FRAME_TYPE": np.array(["DARK"]), "GOES_SATELLITE": np.array(["GOES-16"])}
        write_table(self.angles, angles, ANGLES)
        return self

    def maps(self, exposure: str) -> Path:
        return self.sheet.parent / "202407" / exposure / f"{exposure}_radmaps.parquet"

    def write_maps(self, exposure: str, seed: int) -> None:
        write_table(self.maps(exposure), maps_of(seed), RADIATION_MAPS, meta={"grids": GRIDS})

    def run(self, *more: str | Path, output: Path | None = None) -> Path:
        output = output or self.movie
        given = [self.sheet, "-o", output, "--cache", self.cache, "--config", self.config]
        result = CliRunner().invoke(command, [str(a) for a in [*given, *more]], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        self.said = result.output
        return output

    def pieces(self, kind: str = "xcosmix") -> dict[str, int]:
        """Return the kept days and when each was written."""
        return {p.name: p.stat().st_mtime_ns for p in (self.cache / kind / "202407").glob("*.h264")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Month:
    """A month whose movie is made."""
    month = Month(tmp_path_factory.mktemp("made") / "month").make()
    month.run("--goes", month.goes)
    return month


@pytest.fixture
def month(made: Month, tmp_path: Path) -> Month:
    """A copy of that month, to change."""
    shutil.copytree(made.folder, tmp_path / "month")
    return Month(tmp_path / "month")


@pytest.fixture(scope="module")
def canvas() -> MovieCanvas:
    return MovieCanvas(VIS.particle_scale, "xcosmix", WIDTH)


FACTS = FrameFacts("C_2024", "SCIENCE", START, 560.5, 72.0, 91.66, -4.52, "header", 1.2e-7)


# ---------------------------------------------------------------- what an encoded movie is


def said_of(movie: Path) -> str:
    """Return what the decoder says of a file."""
    return subprocess.run([encoder(), "-hide_banner", "-i", movie], capture_output=True, text=True).stderr


def decoded(movie: Path) -> NDArray[np.uint8]:
    """Return all frames of a movie, shape (n, height, width, 3)."""
    size = re.search(r"Video: h264.*?, (\d+)x(\d+)", said_of(movie))
    assert size, said_of(movie)
    options = ["-v", "error", "-i", movie, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run([encoder(), *options], capture_output=True, check=True)
    assert raw.stderr == b""
    return np.frombuffer(raw.stdout, np.uint8).reshape(-1, int(size[2]), int(size[1]), 3)


def boxes_of(movie: Path) -> list[str]:
    """Return the types of the outermost boxes of an MP4, in order."""
    content, at, found = movie.read_bytes(), 0, []
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        found.append(content[at + 4 : at + 8].decode())
        assert length >= 8
        at += length
    return found


def test_movie_of_a_month(month: Month) -> None:
    movie = month.run("--goes", month.goes, "--angles", month.angles)
    said = said_of(movie)
    assert re.search(rf"h264 .*yuv420p\(tv, bt709, progressive\), {WIDTH}x240.* 6 fps", said), said
    assert not re.search(r"Lav[cf]\d", said)  # no version that would change the bytes
    boxes = boxes_of(movie)
    assert boxes[0] == "ftyp"
    assert boxes.index("moov") < boxes.index("mdat")  # plays before all of it is there
    frames = decoded(movie)
    assert frames.shape == (3, 240, WIDTH, 3)  # FLAT and the exposure without maps are left out
    exposures = movie_exposures([MonthFiles.of_sheet(month.sheet)], [read_angles(month.angles)], readout=72.0)
    assert [e.facts.exposure for e in exposures] == ["early", "dark", "late"]
    canvas, goes = MovieCanvas(VIS.particle_scale, "xcosmix", WIDTH), GoesDays(sorted(month.goes.iterdir()))
    for shown, exposure in zip(frames, exposures, strict=True):
        table = read_table(exposure.maps)
        series = goes.around(exposure.facts.date_obs, 12.0)
        original = canvas.draw(exposure.facts, table, RadiationMetadata(**table.meta), series)[..., :3]
        # Half the resolution in colour blurs thin lines, but nothing is shifted, nor its colours.
        assert np.abs(shown.astype(float) - original).mean() < 4
        assert abs(shown.mean() - original.mean()) < 1.5


def test_second_call_draws_nothing_and_gives_the_same_bytes(month: Month) -> None:
    first, pieces = actual_checksum(month.movie), month.pieces()  # of all but the record
    again = month.run("--goes", month.goes, output=month.folder / "again.mp4")
    assert "again.mp4: 0 of 3 frames drawn" in month.said
    assert actual_checksum(again) == first
    assert len(read_record(again)["inputs"]) == len(read_record(month.movie)["inputs"])
    assert month.pieces() == pieces
    assert sorted(name[:10] for name in pieces) == ["2024-07-10", "2024-07-13"]


def test_a_month_that_grew_day_by_day_is_one_that_was_made_at_once(month: Month) -> None:
    grown = Month(month.folder / "grown")
    grown.make()
    for n in (1, 2, 5):
        write_sheet(grown.sheet, sorted(grown.rows, key=lambda row: row.date_obs)[:n])
        grown.run("--goes", grown.goes)
    assert actual_checksum(grown.movie) == actual_checksum(month.movie)
    assert set(grown.pieces()) == set(month.pieces())


def test_one_changed_table_redraws_its_day(month: Month) -> None:
    before = month.pieces()
    month.write_maps("dark", seed=17)
    month.run("--goes", month.goes)
    assert "2 of 3 frames drawn, 1 old pieces removed" in month.said
    after = month.pieces()
    assert len(after) == 2  # the old one is gone
    assert {name[:10] for name, _ in set(before.items()) & set(after.items())} == {"2024-07-10"}


def test_a_changed_day_of_goes_redraws_what_shows_it(month: Month) -> None:
    before = month.pieces()
    write_table(month.goes / "goes_2024-07-12.parquet", goes_of("2024-07-12", level=3e-7), GOES_SERIES)
    month.run("--goes", month.goes)
    assert {name[:10] for name in set(month.pieces()) - set(before)} == {"2024-07-13"}


def test_settings_and_orphans(month: Month) -> None:
    before = set(month.pieces())
    (month.cache / "xcosmix" / "202407" / "early-0123456789ab.png").touch()  # as an older VISQL kept them
    (month.cache / "xcosmix" / "202407" / "notes").mkdir()  # somebody's
    month.config.write_text("movies: {width: 322}\n")
    month.maps("early").unlink()
    assert decoded(month.run("--goes", month.goes)).shape == (2, 242, 322, 3)
    assert not before & set(month.pieces())
    left = sorted(p.name[:10] for p in (month.cache / "xcosmix" / "202407").glob("[!.]*"))
    assert left == ["2024-07-13", "notes"]
    month.config.write_text("movies: {width: 322, frames_per_second: 3}\n")
    assert " 3 fps" in said_of(month.run("--goes", month.goes))
    assert "2 of 2 frames drawn, 1 old pieces removed" in month.said


def test_other_movies_leave_the_days_of_the_month(month: Month) -> None:
    pieces = month.pieces()
    recent = month.run("--last-days", "0.2", "--goes", month.goes, output=month.folder / "recent.mp4")
    assert len(decoded(recent)) == 1  # a part of a day
    assert pieces.items() < month.pieces().items()
    assert len(decoded(month.run("--last-days", "--goes", month.goes, output=recent))) == 3  # 30 days
    month.run("--kind", "protons", output=month.folder / "P.mp4")
    month.run("--goes", month.goes)
    assert month.pieces() == pieces  # nothing drawn, the part of a day removed
    assert len(month.pieces("protons")) == 2


def test_no_exposures_give_a_movie_that_says_so(month: Month) -> None:
    write_sheet(month.sheet, [])
    frames = decoded(month.run())
    assert len(frames) == 12  # 2 s
    assert (frames[0] < 100).sum() > 500  # words
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() < 0.5


def test_broken_tables_cost_their_frame_only(month: Month) -> None:
    month.maps("dark").write_bytes(b"no table")
    (month.goes / "goes_2024-07-12.parquet").write_bytes(b"no table")
    lost = month.folder / "lost.parquet"
    assert len(decoded(month.run("--goes", month.goes, "--goes", lost, "--angles", lost))) == 3
    assert month.said.count("lost.parquet: does not exist") == 2
    assert "dark_radmaps.parquet" in month.said
    assert "goes_2024-07-12.parquet" in month.said


@pytest.mark.parametrize("length", [0, 10, 2000], ids=["empty", "shorter than its checksum", "cut short"])
def test_a_damaged_day_is_made_again(month: Month, length: int) -> None:
    first = actual_checksum(month.movie)
    path = next((month.cache / "xcosmix" / "202407").glob("2024-07-13-*"))
    path.write_bytes(path.read_bytes()[:length])
    month.run("--goes", month.goes)
    assert f"{path.name}: is damaged; encoded again" in month.said
    assert actual_checksum(month.movie) == first


# ---------------------------------------------------------------- the encoder


def test_encoder_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho no such codec >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr("visql_lib.movies.encode.encoder", lambda: str(program))
    frames = [np.zeros((240, 320, 4), np.uint8)] * 30  # more than a pipe holds
    with pytest.raises(MovieError, match=r"^the encoder failed \(exit code 3\): no such codec"):
        encode_piece(frames, (320, 240), 6)
    with pytest.raises(MovieError, match=r"X\.mp4: the encoder failed \(exit code 3\): no such codec"):
        write_movie([b"x" * 1000] * 1000, 6, tmp_path / "out" / "X.mp4", {"movies": 1})
    assert list((tmp_path / "out").iterdir()) == []


def test_encoder_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    with pytest.raises(MovieError, match="encoder"):
        encode_piece([np.zeros((240, 320, 4), np.uint8)], (320, 240), 6)
    with pytest.raises(MovieError, match="encoder"):
        write_movie([b""], 6, tmp_path / "X.mp4", {"movies": 1})
    assert not (tmp_path / "X.mp4").exists()


def test_failing_pieces_leave_the_old_movie(tmp_path: Path) -> None:
    grey = np.full((240, 320, 4), 90, np.uint8)

    def pieces() -> Iterator[bytes]:
        yield encode_piece([grey], (320, 240), 6)
        yield encode_piece([np.zeros((2, 2, 4), np.uint8)], (320, 240), 6)

    path = tmp_path / "X.mp4"
    path.write_text("old")
    with pytest.raises(VisqlError, match=r"a frame has shape \(2, 2, 4\) \(uint8\), not \(240, 320, 4\)"):
        write_movie(pieces(), 6, path, {"movies": 1})
    with pytest.raises(MovieError, match=r"X\.mp4: the encoder failed"):
        write_movie([b"no stream"], 6, path, {"movies": 1})
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["X.mp4"]


@pytest.mark.parametrize("frames_per_second", [0.5, 6, 59.94])
@pytest.mark.parametrize("lengths", [(1,), (1, 1), (3, 1, 20), (40,)], ids=str)
def test_pieces_follow_each_other(tmp_path: Path, frames_per_second: float, lengths: tuple[int, ...]) -> None:
    """Every frame is shown once, in order, for its time, wherever one piece ends and the next begins."""
    size, n = (320, 240), sum(lengths)
    levels = np.linspace(20, 230, n).astype(int)
    whole = [np.full((240, 320, 4), (level, 30, 90, 255), np.uint8) for level in levels]
    ends = np.cumsum((0, *lengths))
    pieces = [encode_piece(whole[a:b], size, frames_per_second) for a, b in pairwise(ends)]
    write_movie(pieces, frames_per_second, tmp_path / "X.mp4", {"movies": 1})
    shown = decoded(tmp_path / "X.mp4")
    assert len(shown) == n
    assert np.abs(shown[..., 0].mean(axis=(1, 2)) - levels).max() <= 4
    clock = re.search(r"Duration: (\d+):(\d+):([\d.]+), start: 0\.000000", said_of(tmp_path / "X.mp4"))
    assert clock
    seconds = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    assert seconds == pytest.approx(n / frames_per_second, abs=0.011)


# ---------------------------------------------------------------- exposures


def test_facts_of_exposures(month: Month) -> None:
    by_name = {
        e.facts.exposure: e.facts
        for e in movie_exposures([MonthFiles.of_sheet(month.sheet)], [read_angles(month.angles)], 72)
    }
    assert (by_name["dark"].saa, by_name["dark"].alpha, by_name["dark"].angle_source) == (87.5, 0.0, "Earth")
    assert (by_name["late"].saa, by_name["late"].alpha, by_name["late"].angle_source) == (
        91.66,
        -4.52,
        "header",
    )
    assert by_name["dark"].clock == "2024-07-13  03:28:40 UTC"
    assert by_name["dark"].line == (
        "DARK   100.0 s   SAA 87.50°   ALPHA 0.00° (Earth)   GOES XRSA 0.0×10⁰ W/m²"
    )
    assert np.isnan(by_name["late"].goes_flux)
    assert by_name["late"].line == "SCIENCE   560.5 s   SAA 91.66°   ALPHA −4.52°"
    unknown = FrameFacts("X")
    assert unknown.clock == "time not known"
    assert unknown.line == "SCIENCE   exposure time not known   SAA not known   ALPHA not known"


def test_exposures_without_a_time_come_last(month: Month) -> None:
    rows = [*month.rows, row_of("X_notime", "")]
    write_sheet(month.sheet, rows)
    month.write_maps("X_notime", 9)
    names = [e.facts.exposure for e in movie_exposures([MonthFiles.of_sheet(month.sheet)])]
    assert names == ["early", "dark", "late", "X_notime"]
    assert [e.facts.exposure for e in movie_exposures([MonthFiles.of_sheet(month.sheet)], last_days=1)] == [
        "dark",
        "late",
    ]
    assert len(decoded(month.run("--goes", month.goes))) == 4


def test_hours_of_goes_span_days(month: Month) -> None:
    found = GoesDays(sorted(month.goes.iterdir(), reverse=True)).around(START, 12.0)
    assert found is not None
    assert found["TIME"][0] == np.datetime64("2024-07-12T15:29", "us")
    assert found["TIME"][-1] == np.datetime64("2024-07-13T15:28", "us")
    assert (np.diff(found["TIME"]) == np.timedelta64(60, "s")).all()
    assert found["GOOD"].all()  # as written
    assert GoesDays([]).around(START, 12.0) is None
    assert GoesDays(sorted(month.goes.iterdir())).around(np.datetime64("2024-07-20", "us"), 12.0) is None


# ---------------------------------------------------------------- what a frame shows


def test_grid_is_the_map() -> None:
    n = GRIDS["xray"]["nx"]
    table = {
        "MAP": np.array(["xray", "xray", "rf"]),
        "IX": np.array([0, n - 1, 7]),
        "IY": np.array([1, n - 1, 7]),
    }
    table["N"] = np.array([5, 9, 3])
    found = grid_of(table, META, "xray")
    assert found is not None
    counts, extent = found
    assert counts.shape == (n, n)
    assert (counts[1, 0], counts[-1, -1], counts.sum()) == (5, 9, 14)
    assert extent == pytest.approx((-0.4, -0.4 + n * 250 / 36000, -0.4, -0.4 + n * 250 / 36000))
    assert grid_of(table, RadiationMetadata(grids={}), "xray") is None
    assert grid_of(table, RadiationMetadata(), "rf") is None


def test_frames_do_not_depend_on_those_before(canvas: MovieCanvas) -> None:
    goes, meta = goes_of("2024-07-13"), META
    first = canvas.draw(FACTS, maps_of(), meta, goes)
    assert first.shape == (240, WIDTH, 4)
    assert first.dtype == np.uint8
    canvas.draw(
        FrameFacts("X"),
        None,
        RadiationMetadata(),
        None,
        "E_radmaps.parquet: not a Parquet table; make it again",
    )
    canvas.draw_nothing("no exposure in 202408")
    assert np.array_equal(canvas.draw(FACTS, maps_of(), meta, goes), first)
    assert np.array_equal(
        MovieCanvas(VIS.particle_scale, "xcosmix", WIDTH).draw(FACTS, maps_of(), meta, goes), first
    )


@pytest.mark.parametrize("kind", ["xcosmix", "protons"])
def test_colours_are_scaled_by_exposure_time(kind: str) -> None:
    canvas, meta = MovieCanvas(VIS.particle_scale, kind, WIDTH), META
    panel = canvas._maps[0]
    canvas.draw(replace(FACTS, exptime=524.0), maps_of(), meta, None)
    usual = panel.bins.colours.get_array().copy()
    canvas.draw(replace(FACTS, exptime=262.0 - 18.0), maps_of(), meta, None)
    np.testing.assert_allclose(panel.bins.colours.get_array().compressed(), 2 * usual.compressed())
    counts, _ = grid_of(maps_of(), meta, panel.name) or (np.zeros(0), ())
    assert usual.sum() == pytest.approx(counts.sum())
    assert panel.number.text == f"{counts.sum():,.0f}"
    canvas.draw(replace(FACTS, exptime=np.nan), maps_of(), meta, None)  # not known: as it is
    np.testing.assert_allclose(panel.bins.colours.get_array().compressed(), usual.compressed())


@pytest.mark.parametrize(
    "extent", [(0, 1, 0, 1), (-0.3, 0.62, 0.2, 1.7), (0.4, 0.6, 0.4, 0.45), (2, 3, 0, 1)]
)
@pytest.mark.parametrize("shape", [(3, 5), (300, 400)], ids=str)
def test_each_pixel_shows_the_bin_its_centre_lies_in(
    shape: tuple[int, int], extent: tuple[float, float, float, float]
) -> None:
    """Also where a map reaches beyond its panel, fills a part of it, or has more bins than pixels."""
    figure = Figure(figsize=(2, 1), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 1), ylim=(0, 1))
    agg = FigureCanvasAgg(figure)
    values = np.random.default_rng(1).uniform(0, 1, shape)
    values[0, 0] = np.nan
    bins = BinImage(axes, Normalize(0, 1), colormaps["Greys"])
    bins.show(values, extent)
    bins.draw(agg.get_renderer())
    drawn = np.asarray(agg.buffer_rgba())
    y, x = (np.mgrid[99:-1:-1, 0:200] + 0.5) / np.array([100, 200])[:, None, None]
    ix = np.floor((x - extent[0]) / (extent[1] - extent[0]) * shape[1]).astype(int)
    iy = np.floor((y - extent[2]) / (extent[3] - extent[2]) * shape[0]).astype(int)
    inside = (ix >= 0) & (ix < shape[1]) & (iy >= 0) & (iy < shape[0])
    filled = inside.copy()
    filled[inside] = np.isfinite(values[iy[inside], ix[inside]])
    expected = colormaps["Greys"](values[iy[filled], ix[filled]], bytes=True)
    assert np.array_equal(drawn[filled], expected)
    assert not drawn[~filled][:, 3].any()


def ink_of(figure: Figure, artist: Any) -> NDArray:
    """Return how much ink an artist leaves on each pixel of a figure, 0 to 1."""
    agg = FigureCanvasAgg(figure)
    artist.draw(agg.get_renderer())
    return np.asarray(agg.buffer_rgba())[..., 3] / 255.0


TEXTS = [
    ("C_20240713_032840_W_EB731D27", 13.0),
    ("SAA 91.67°   ALPHA −4.50°   1.1×10⁻⁷ W/m²", 13.0),
    ("76,534", 23.0),
    ("E_radmaps.parquet: not a Parquet\ntable; make it again", 13.0),
]


@pytest.mark.parametrize(
    ("anchor", "text", "points"),
    [(a, t, p) for a in ("la", "ra", "rs", "mm") for t, p in TEXTS if a != "rs" or "\n" not in t],
)
def test_words_look_as_matplotlib_writes_them(anchor: str, text: str, points: float) -> None:
    """The same letters in the same place, but for a pixel or two; tops are those of the font."""
    figure = Figure(figsize=(8, 1), dpi=100)
    words = FastText(figure, (0.5, 0.6), points, anchor, colour="#0072b2")
    words.text = text
    ha = {"l": "left", "m": "center", "r": "right"}[anchor[0]]
    va = {"a": "top", "m": "center", "s": "baseline"}[anchor[1]]
    usual = figure.text(0.5, 0.6, text, size=points, ha=ha, va=va, family=style.FONT, linespacing=1.15)
    usual.set_multialignment("center")
    new, old = (gaussian_filter(ink_of(figure, artist), 1.0) for artist in (words, usual))
    # How alike they are where one is moved by a few pixels against the other.
    up, aside = (range(-7, 8), range(-2, 3))
    alike = {
        (dy, dx): np.corrcoef(np.roll(new, (dy, dx), (0, 1)).ravel(), old.ravel())[0, 1]
        for dy in up
        for dx in aside
    }
    dy, dx = max(alike, key=lambda move: alike[move])
    assert alike[dy, dx] > 0.85, (alike[dy, dx], dy, dx)
    assert abs(dx) <= 1
    assert abs(dy) <= (2 if anchor[1] in "sm" else 6)
    assert new.sum() == pytest.approx(old.sum(), rel=0.1)


def test_words_have_their_colour_and_nothing_is_nothing() -> None:
    figure = Figure(figsize=(2, 1), dpi=100)
    words = FastText(figure, (0.5, 0.5), 40.0, "mm", colour="#0072b2")
    assert not ink_of(figure, words).any()
    words.text = "I"
    agg = FigureCanvasAgg(figure)
    words.draw(agg.get_renderer())
    drawn = np.asarray(agg.buffer_rgba())
    assert {tuple(pixel) for pixel in drawn[drawn[..., 3] == 255]} == {(0, 0x72, 0xB2, 255)}


@pytest.mark.parametrize("kind", ["xcosmix", "protons"])
def test_all_words_of_a_frame_are_drawn(kind: str) -> None:
    """Where a frame has a text, another text makes other pixels, there and nowhere else."""
    canvas, meta = MovieCanvas(VIS.particle_scale, kind, 640), META
    goes = goes_of("2024-07-13")
    first = canvas.draw(FACTS, maps_of(), meta, goes)
    panels = [canvas._clock, canvas._name, canvas._line, canvas._goes.satellite, canvas._goes.words]
    for words in [*panels, *(w for panel in canvas._maps for w in (panel.number, panel.words))]:
        kept, words.text = words.text, "W"
        differs = (canvas._pixels() != first).any(axis=2)
        words.text = kept
        x, y = words._at[0] * 640, (1 - words._at[1]) * 480
        rows, columns = np.nonzero(differs)
        assert len(rows), kept
        assert np.abs(rows - y).max() < 30
        assert np.abs(columns - x).min() < 12
    assert np.array_equal(canvas._pixels(), first)


def test_a_long_reason_stays_in_its_panel() -> None:
    """Also in the smallest frames, where letters are wider than they should be."""
    reason = "C_20240713_032840_W_EB731D27.VIS.bin_01_01_radmaps.parquet: not a Parquet table; make it again"
    for width in (320, 1280):
        canvas = MovieCanvas(VIS.particle_scale, "xcosmix", width)
        canvas.draw(FACTS, None, {}, None, reason)
        for panel in canvas._maps:
            columns = np.flatnonzero(ink_of(canvas._canvas.figure, panel.words).any(axis=0))
            box = panel.axes.bbox
            assert len(columns)
            assert box.x0 < columns[0]
            assert columns[-1] < box.x1


def test_panels_say_what_is_missing(canvas: MovieCanvas) -> None:
    canvas.draw(FACTS, maps_of(), RadiationMetadata(grids={"rf": GRIDS["rf"]}), None)
    xray, rf = canvas._maps
    assert xray.words.text == "no map of X-rays"
    assert rf.words.text == ""
    assert canvas._goes.words.text == "no GOES data"
    assert not canvas._goes.mark.get_visible()
    far = goes_of("2024-08-13")
    canvas.draw(FACTS, maps_of(), META, far)
    assert canvas._goes.words.text == "no GOES data"
    masked = goes_of("2024-07-13") | {"XRSA": np.full(1440, np.nan), "XRSB": np.full(1440, np.nan)}
    canvas.draw(FACTS, maps_of(), META, masked)
    assert canvas._goes.words.text == "no GOES data"
    canvas.draw(FACTS, maps_of(), META, None, "failed: no quadrants")
    assert xray.words.text == rf.words.text == "failed: no quadrants"


def test_the_exposure_is_marked_and_bad_samples_are_grey(canvas: MovieCanvas) -> None:
    goes = goes_of("2024-07-13")
    goes["GOOD"][600:700] = False
    canvas.draw(FACTS, maps_of(), META, goes)
    panel = canvas._goes
    assert panel.mark.get_x() == 0
    assert panel.mark.get_width() == pytest.approx((560.5 + 72) / 3600)
    bad, xrsb, xrsa = (np.isfinite(line.get_ydata()).sum() for line in panel.lines)
    seen = np.sum(np.abs((goes["TIME"] - START).astype(float)) <= 12 * 3600e6)
    assert (bad, xrsb, xrsa) == (102, seen, seen - 100)  # and the neighbours of the bad ones
    assert panel.satellite.text == "GOES-16"


def test_gaps_break_the_line_and_no_flare_is_lost() -> None:
    hours = np.arange(-12, 12, 1 / 60)
    kept = np.abs(hours - 3) > 0.5
    x, y = series_line(hours[kept], np.full(kept.sum(), 1e-7))
    assert np.isnan(y).sum() == 1
    assert abs(x[np.flatnonzero(np.isnan(y))[0]] - 3.5) < 0.05
    dense = np.arange(-12, 12, 1 / 3600)
    flux = np.full(len(dense), 1e-7)
    flux[43210] = 1e-4  # one second
    x, y = series_line(dense, flux)
    assert len(x) < 4000
    assert np.nanmax(y) == pytest.approx(-4)
    assert abs(x[np.nanargmax(y)] - dense[43210]) < 0.05
    assert not np.isnan(y).any()


@given(
    flux=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=40),
    steps=st.lists(st.integers(0, 300), min_size=40, max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_lines_stay_in_the_panel(flux: list[float], steps: list[int]) -> None:
    hours = np.cumsum(steps[: len(flux)]) / 60
    x, y = series_line(hours.astype(float), np.array(flux, dtype=float))
    known = y[np.isfinite(y)]
    assert len(x) == len(y) >= len(flux)
    assert ((known >= FLUXES[0]) & (known <= FLUXES[1])).all()
    assert len(known) == np.sum(~np.isnan(flux))  # unknown stays unknown


@given(width=st.integers(160, 1920).map(lambda n: 2 * n))
@settings(max_examples=25, deadline=None)
def test_sizes_are_even(width: int) -> None:
    size = frame_size(width)
    assert size[0] == width
    assert size[1] % 2 == 0
    assert abs(size[1] / width - 0.75) < 0.005


@pytest.mark.parametrize("width", [322, 1366])
def test_frames_have_that_size(width: int) -> None:
    frame = MovieCanvas(VIS.particle_scale, "protons", width).draw(FACTS, maps_of(), META, None)
    assert frame.shape == (frame_size(width)[1], width, 4)


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="none of xcosmix, protons"):
        MovieCanvas(VIS.particle_scale, "neutrinos")
