"""Files that are whole or not there, after a power cut too."""

import errno
import os

import pytest

from visql_lib import atomic
from visql_lib.atomic import atomic_path, put_in_place, sync_folder


@pytest.fixture
def order(monkeypatch):
    """What is done to files, in its order: handed to the disk, renamed."""
    done = []
    fsync, replace = os.fsync, os.replace

    def synced(handle):
        done.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))))  # noqa: PTH115, PTH119
        fsync(handle)

    def renamed(source, target, **options):
        done.append(("rename", os.path.basename(target)))  # noqa: PTH119
        replace(source, target, **options)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    return done


def test_content_is_on_the_disk_before_its_name_and_its_name_before_we_go_on(tmp_path, order):
    with atomic_path(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("whole")
        part = temporary.name
    assert order == [("sync", part), ("rename", "a.txt"), ("sync", "new")]
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_folder_is_put_in_place_with_all_that_is_in_it(tmp_path, order):
    made = tmp_path / "made"
    (made / "8").mkdir(parents=True)
    (made / "8" / "0_0.jpg").write_bytes(b"x")
    (made / "tiles.js").write_text("x")
    put_in_place(made, tmp_path / "tiles")
    assert set(order[:-2]) == {("sync", name) for name in ("0_0.jpg", "8", "tiles.js", "made")}
    assert order[-2:] == [("rename", "tiles"), ("sync", tmp_path.name)]


def test_on_a_failure_the_old_file_stays(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(("number", "told"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_folders_that_cannot_be_synced_are_let_pass_broken_disks_are_not(tmp_path, monkeypatch, number, told):
    def refuse(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, "fsync", refuse)
    if told:
        with pytest.raises(OSError, match="Input/output"):
            sync_folder(tmp_path)
    else:
        sync_folder(tmp_path)
