"""A `visql` that fails at chosen steps, put before the real one in the path: VISQL_FAULTS="catalog:kill,stars:full"."""

import errno
import os
import signal
import sys
from pathlib import Path

HOW = ("exit", "full", "kill")


def install(folder: Path) -> Path:
    """Write the command into a folder; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / "visql"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import failing_visql\nfailing_visql.main()\n"
    )
    command.chmod(0o755)
    return folder


def _full(_):
    raise OSError(errno.ENOSPC, "No space left on device")


def _killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def main():
    """Fail as told, or run the command."""
    faults = dict(fault.split(":") for fault in os.environ.get("VISQL_FAULTS", "").split(",") if fault)
    how = faults.get(sys.argv[1])
    if how:
        with Path(os.environ["VISQL_FAILED"]).open("a") as file:
            file.write(f"{sys.argv[1]}:{how}\n")
    if how == "exit":
        sys.exit(1)
    if how:  # at the first product that it hands to the disk
        os.fsync = {"full": _full, "kill": _killed}[how]
    from visql_lib.cli import main as visql

    visql()
