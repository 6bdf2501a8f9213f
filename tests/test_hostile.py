"""Answers of servers that mean harm, or are broken: each costs a message, a known time and little memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import hostile
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visql_lib.simulate.goes import GoesDay, write_goes_day

SEED = int(os.environ.get("VISQL_HOSTILE_SEED", "1"))
MOST_MEMORY = 300.0  # MB, beyond what the libraries take


@pytest.fixture
def folder(tmp_path):
    """A home with passwords, and the user's own files, which are the next source."""
    home = tmp_path / "home"
    home.mkdir()
    entry = home / ".netrc"
    entry.write_text(
        f"machine 127.0.0.1 login {hostile.USER} password {hostile.PASSWORD}\n"
        f"default login x password {hostile.OTHERS}\n"
    )
    entry.chmod(0o600)
    stars = {"source_id": [1, 2], "ra": [56.2, 56.21], "dec": [-55.7, -55.7], "g": [15.0, 16.0]}
    pq.write_table(pa.table(stars), home / "stars.parquet")
    write_goes_day(GoesDay(date(2024, 7, 13)), home)
    return home


@pytest.fixture
def servers():
    """The server that is asked, another one to which it sends on, and a mail server."""
    found = [hostile.Server(SEED), hostile.Server(SEED), hostile.Server(SEED, mail=True)]
    found[0].other = f"localhost:{found[1].port}"
    yield found
    for server in found:
        server.stop()


def ask(folder, servers, count):
    """Ask in a process of its own; return its lines."""
    environment = {k: v for k, v in os.environ.items() if not k.upper().endswith("_PROXY")}
    command = [sys.executable, "-W", "error", str(Path(hostile.__file__)), "ask", str(folder)]
    command += [str(servers[0].port), str(servers[2].port), "0", str(count)]
    done = subprocess.run(
        command,
        env=environment | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=hostile.LAST * count,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    asked = len(lines)  # the one it ended with
    assert done.returncode == 0, (asked, done.stderr[-3000:])
    return lines, done.stderr


@pytest.mark.parametrize("count", [40, pytest.param(300, marks=pytest.mark.heavy)])
def test_hostile_answers(folder, servers, count):
    lines, errors = ask(folder, servers, count)
    assert len(lines) == count
    assert "Traceback" not in errors
    for line in lines:
        assert line["seconds"] < hostile.LAST, line
        assert len(line["said"]) < 3000, line
        assert "\n" not in line["said"], line
        assert hostile.PASSWORD not in line["said"] + errors
    base = lines[0]["peak"]
    assert max(line["peak"] for line in lines) < base + MOST_MEMORY, [line["peak"] for line in lines]
    # The next source is tried: all tiles and days are there, whoever has them.
    for line in lines:
        if line["client"] in ("vizier", "tap", "goes"):
            assert line["got"], line
    # Only the archive and the webhook see the archive's password, and nobody else's is ever sent.
    seen = {re.match(r"\w+ /\d+/(\w+)", line)[1] for line in servers[0].shown}
    assert seen == {"list", "file", "hook"}
    assert servers[1].shown == []
    assert set(Counter(line["client"] for line in lines)) == {
        *("vizier", "tap", "goes", "horizons", "list", "file", "hook", "mail")
    }
