"""The exposure sheet: what is listed, how, and that little is read twice."""

import math
import os
import shutil

import pytest
from astropy.io import fits

from visql_lib.errors import ConfigError, TableError
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.sheet_rules import RULES
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import read_sheet, write_sheet
from visql_lib.workflow.run_lock import lock_results

FAR = 4e9  # seconds since 1970: every file is old


class Look:
    """Refreshes the sheet of July 2024 and counts the headers read."""

    def __init__(self, raw, results, toy, **changes):
        values = {
            "raw": [str(r) for r in raw] if isinstance(raw, list) else str(raw),
            "results": str(results),
        }
        self.settings, self.toy, self.read = settings_from_mapping(values | changes), toy, 0

    def __call__(self, now=FAR):
        self.read = 0

        def count():
            self.read += 1

        return refresh_sheets(self.settings, self.toy, RULES, ["202407"], now=now, on_read=count)["202407"]


@pytest.fixture
def raw(toy_raw, tmp_path):
    """A folder of two toy frames of one's own, a long one and a BIAS."""
    folder = tmp_path / "raw"
    folder.mkdir()
    frames = sorted(toy_raw.glob("*.fits"))
    for frame in (frames[0], frames[3]):
        shutil.copy(frame, folder)
    return folder


def test_every_frame_of_the_month_has_a_row(toy_raw, tmp_path, toy):
    rows = Look(toy_raw, tmp_path, toy)()
    assert [r.frame_type for r in rows] == ["BIAS", "DARK", "FLAT", "SCIENCE", "SCIENCE", "SCIENCE"]
    assert {r.status for r in rows} == {"ok"}
    assert [r.exposure for r in rows] == sorted(p.stem for p in toy_raw.glob("*.fits"))
    science = rows[3]
    header = fits.getheader(science.file)
    assert science.exptime == header["EXPTIME"]
    assert (science.ra, science.dec, science.pa) == (header["RA"], header["DEC"], header["PA"])
    assert science.date_obs == header["DATE-OBS"][:23]
    assert read_sheet(MONTHS.sheet_path(tmp_path, "202407")) == rows


def test_known_frames_are_not_read_again(raw, tmp_path, toy):
    look = Look(raw, tmp_path, toy)
    look()
    assert look.read == 2
    path = MONTHS.sheet_path(tmp_path, "202407")
    before = path.stat().st_mtime_ns
    look()
    assert look.read == 0
    assert path.stat().st_mtime_ns == before
    changed = sorted(raw.iterdir())[0]
    os.utime(changed, (1e9, 1e9))
    look()
    assert look.read == 1


def test_a_frame_that_goes_leaves_the_sheet(raw, tmp_path, toy):
    look = Look(raw, tmp_path, toy)
    assert len(look()) == 2
    first, second = sorted(raw.iterdir())
    first.unlink()
    assert len(look()) == 1
    made = tmp_path / "exposures" / "202407" / second.stem / f"{second.stem}_quadrants.parquet"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"")
    second.unlink()
    for _ in range(2):  # what was made of a frame keeps its row
        rows = look()
        assert [(r.exposure, r.status, r.file) for r in rows] == [(second.stem, "gone", "")]
        assert rows[0].exptime == 560.52


def test_growing_files_are_left_for_later(raw, tmp_path, toy):
    look = Look(raw, tmp_path, toy)
    young = sorted(raw.iterdir())[0]
    os.utime(young, (1000, 1000))
    os.utime(sorted(raw.iterdir())[1], (0, 0))
    assert [r.status for r in look(now=1050)] == ["growing", "ok"]
    assert [r.status for r in look(now=1061)] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("damage", "status", "reason"),
    [
        (lambda d: b"", "unreadable", "empty file"),
        (lambda d: d[: len(d) // 3], "unreadable", "cut short"),
        (lambda d: d[: len(d) // 3 // 2880 * 2880], "unreadable", "cut short"),
        (lambda d: b"x" * 2880, "unreadable", "not a readable FITS file"),
    ],
)
def test_damaged_frames_are_unreadable(raw, tmp_path, toy, damage, status, reason):
    broken = sorted(raw.iterdir())[1]
    broken.write_bytes(damage(broken.read_bytes()))
    rows = Look(raw, tmp_path, toy)()
    assert (rows[0].status, rows[1].status) == ("ok", status)
    assert reason in rows[1].reason
    assert broken.name in rows[1].reason


def rewrite(path, change):
    with fits.open(path) as hdus:
        copy = fits.HDUList([h.copy() for h in hdus])
    change(copy)
    copy.writeto(path, overwrite=True)


def test_missing_quadrants_make_a_frame_incomplete(raw, tmp_path, toy):
    path = sorted(raw.iterdir())[1]
    rewrite(path, lambda hdus: hdus.pop("2-1.F"))
    row = Look(raw, tmp_path, toy)()[1]
    assert row.status == "incomplete"
    assert row.reason == f"1 of {len(toy.quadrants)} quadrants missing: 2-1.F"
    assert Look(raw, tmp_path / "b", toy, index={"detectors": ["1-1", "1-2"]})()[1].status == "ok"


def test_headers_are_read_defensively(raw, tmp_path, toy):
    def spoil(hdus):
        header = hdus[0].header
        header["DATE-OBS"] = "1970-01-01T00:00:00"
        header["RA"] = None
        del header["SAA"]

    path = sorted(raw.iterdir())[1]
    rewrite(path, spoil)
    row = Look(raw, tmp_path, toy)()[1]
    assert row.date_obs == "2024-07-12T02:00:00.000"
    assert row.date_source == "name"
    assert math.isnan(row.ra)
    assert math.isnan(row.saa)
    assert row.status == "ok"


def test_what_is_no_frame_of_the_month_is_left_alone(raw, tmp_path, toy, caplog):
    first = sorted(raw.iterdir())[0]
    shutil.copy(first, raw / "notes.fits")
    shutil.copy(first, raw / first.name.replace("C_202407", "C_202408"))
    shutil.copy(first, raw / f".{first.name}")
    (raw / "readme.txt").write_text("")
    assert len(Look(raw, tmp_path, toy)()) == 2
    assert "1 FITS files" in caplog.text


def test_of_two_files_of_one_exposure_the_plain_one_counts(raw, tmp_path, toy, caplog):
    first = sorted(raw.iterdir())[0]
    (raw / "sub").mkdir()
    (raw / "sub" / f"{first.name}.gz").write_bytes(b"")
    rows = Look(raw, tmp_path, toy)()
    assert [r.status for r in rows] == ["ok", "ok"]
    assert rows[0].file == str(first)
    assert "found twice" in caplog.text


def test_several_folders_and_their_subfolders(raw, tmp_path, toy):
    other = tmp_path / "other" / "deep"
    other.mkdir(parents=True)
    first = sorted(raw.iterdir())[0]
    first.rename(other / first.name)
    assert len(Look([raw, tmp_path / "other"], tmp_path, toy)()) == 2


def test_known_bad_exposures_are_listed_but_never_read(raw, tmp_path, toy):
    bad = sorted(raw.iterdir())[1]
    bad.write_bytes(b"")
    look = Look(raw, tmp_path, toy, known_bad=[bad.stem])
    assert [r.status for r in look()] == ["ok", "known_bad"]
    assert [r.status for r in look()] == ["ok", "known_bad"]
    assert look.read == 0
    assert [r.status for r in Look(raw, tmp_path, toy)()] == ["ok", "unreadable"]


def test_an_old_or_foreign_sheet_is_refused(tmp_path):
    path = tmp_path / "202407.tsv"
    for text in ("", "exposure\tfile\n", "what\n"):
        path.write_text(text)
        with pytest.raises(TableError, match=r"202407\.tsv"):
            read_sheet(path)
    with pytest.raises(TableError, match="run `visql index`"):
        read_sheet(tmp_path / "none.tsv")


def test_hundreds_of_known_exposures_are_not_read(raw, tmp_path, toy):
    look = Look(raw, tmp_path, toy)
    template = look()[0]
    frame = sorted(raw.iterdir())[0]
    rows = []
    for i in range(500):
        name = f"C_202407{1 + i % 30:02d}_{i // 60 % 24:02d}{i % 60:02d}00_W_{i:08X}.VIS.bin_01_01.fits"
        os.link(frame, raw / name)
        stat = (raw / name).stat()
        values = {f: getattr(template, f) for f in template.__dataclass_fields__}
        rows.append(
            type(template)(
                **values
                | {
                    "exposure": name[:-5],
                    "file": str(raw / name),
                    "size": stat.st_size,
                    "mtime": stat.st_mtime_ns,
                }
            )
        )
    write_sheet(MONTHS.sheet_path(tmp_path, "202407"), rows)
    assert len(look()) >= 500
    assert look.read <= 2


def test_a_file_that_is_no_text_is_told_to_be_no_sheet(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1\xc6\xff")
    with pytest.raises(TableError, match=r"x\.parquet: no text"):
        read_sheet(tmp_path / "x.parquet")


def test_results_that_cannot_be_made_are_one_line(raw, tmp_path, toy):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ConfigError, match=r"results: '.*file/x/exposures' cannot be made .*set results=FOLDER"
    ):
        Look(raw, tmp_path / "file" / "x", toy)()
    with pytest.raises(ConfigError, match="cannot be made"):
        lock_results(tmp_path / "file" / "x")
