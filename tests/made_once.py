"""What is expensive to make and only read afterwards: made once per run of pytest, whichever process wants it first."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder of all processes of this run, which `make` fills. Copy what you change.

    One that fails is left as it is, and made anew, in another folder, for whoever asks next.
    """
    top = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        top = top.parent  # that of a process is in that of the run
    with (top / f"{name}.made").open("a+") as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        record.seek(0)
        if found := record.read():
            return Path(found)
        folder = factory.mktemp(name)
        make(folder)
        record.write(str(folder))
    return folder
