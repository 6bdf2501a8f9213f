"""A Slurm of one node, started and stopped by the tests: munged, slurmctld and slurmd, without systemd."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

ETC, RUN = Path("/etc/slurm"), Path("/run/visql-slurm")
MARK = "# Written by the tests of VISQL, which remove it.\n"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged", "munge")
# Longer than any test holds the machine's one Slurm.
_PATIENCE = 900
NODE = socket.gethostname().partition(".")[0]  # Slurm's own idea of this machine's name

_SLURM_CONF = """\
ClusterName=visql
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd.pid
SlurmctldLogFile={run}/log/slurmctld.log
SlurmdLogFile={run}/log/slurmd.log
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=3600
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes={host} Default=NO MaxTime=INFINITE State=UP
PartitionName=other Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# Nothing uses a cgroup with the plugins above, but slurmd wants to know.
_FILES = {"slurm.conf": _SLURM_CONF, "cgroup.conf": "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"}


def command(*words: object, seconds: float = 30, check: bool = True) -> str:
    """Run a command, never longer than it may; return what it said."""
    done = subprocess.run(
        ["timeout", "-k", "5", str(seconds), *map(str, words)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def obstacle() -> str:
    """Return why there can be no Slurm here, empty if there can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return f"no {', '.join(missing)}: install Debian's slurm-wlm and munge"
    if os.geteuid() != 0:
        return "only root can start a Slurm"
    for name in _FILES:
        file = ETC / name
        if file.exists() and not file.read_text().startswith(MARK):
            return f"{file} is not of these tests: this machine has a Slurm of its own"
    return ""


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    """Have a Slurm of one node with two cores and the partitions `main` and, if none is named, `other`.

    Nothing of it is left behind, also not of an earlier one whose tests were killed.
    """
    with FileLock("/run/visql-slurm.lock", timeout=_PATIENCE):
        _stop()  # what a killed run left
        try:
            _start()
            yield
        finally:
            _stop()


def clear() -> None:
    """End all jobs, and take the node into service again."""
    command("scancel", "--user=root", seconds=10, check=False)
    with contextlib.suppress(RuntimeError):
        _wait_until(lambda: not command("squeue", "-h", seconds=5, check=False), "an empty queue", 20)
    node_is("resume", check=False)


def node_is(state: str, check: bool = True) -> None:
    """Set the state of the node: drain, resume."""
    command(
        "scontrol", "update", f"nodename={NODE}", f"state={state}", "reason=test", seconds=10, check=check
    )


def jobs(*states: str) -> list[int]:
    """Return the numbers of the jobs in any of some states."""
    return [int(n) for n in command("squeue", "-h", f"--states={','.join(states)}", "-o", "%i").split()]


def job(number: int) -> dict[str, str]:
    """Return what Slurm knows of a job."""
    words = command("scontrol", "--oneliner", "show", "job", number).split()
    return dict(word.partition("=")[::2] for word in words)


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _start() -> None:
    for name in ("state", "spool", "log"):
        (RUN / name).mkdir(parents=True)
    ETC.mkdir(exist_ok=True)
    for name, text in _FILES.items():
        (ETC / name).write_text(MARK + text.format(host=NODE, run=RUN))
    if not _answers("munge", "-n"):
        munge = Path("/run/munge")
        munge.mkdir(exist_ok=True, mode=0o755)
        shutil.chown(munge, "munge", "munge")
        command("runuser", "-u", "munge", "--", "/usr/sbin/munged", "--force")
        (RUN / "munged.pid").symlink_to(munge / "munged.pid")
    command("/usr/sbin/slurmctld")
    _wait_until(lambda: _answers("scontrol", "ping"), "slurmctld")
    command("/usr/sbin/slurmd")
    _wait_until(lambda: "idle" in command("sinfo", "-h", "-o", "%T", check=False), "the node")


def _stop() -> None:
    """Stop our daemons, those of a killed run too, and remove our files."""
    if (RUN / "slurmctld.pid").exists():
        clear()
    for name in ("slurmd", "slurmctld", "munged"):
        _end(name)
    shutil.rmtree(RUN, ignore_errors=True)
    for name in _FILES:
        if (ETC / name).exists() and (ETC / name).read_text().startswith(MARK):
            (ETC / name).unlink()


def _end(name: str) -> None:
    """End one daemon by its process id, if it is still that daemon."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((RUN / f"{name}.pid").read_text())
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _ in range(50):
                if Path(f"/proc/{pid}/comm").read_text().strip() != name:
                    return
                os.kill(pid, number)
                time.sleep(0.1)


def _answers(*words: str) -> bool:
    return (
        subprocess.run(["timeout", "-k", "1", "5", *words], capture_output=True, check=False).returncode == 0
    )


def _wait_until(there, what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            logs = "\n".join(p.read_text()[-2000:] for p in (RUN / "log").glob("*.log"))
            raise RuntimeError(f"{what} did not come up\n{logs}")
        time.sleep(0.2)
