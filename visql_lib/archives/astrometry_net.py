"""Plate solving with the programs of astrometry.net, where they are installed.

An index is built from reference stars and kept for all exposures that use the same
stars; a list of the exposure's stars is then matched with it. The programs see
only files of a temporary folder under names of our own, and run as a group that is
killed as a whole when the time is over.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.errors import ArchiveError
from visql_lib.atomic import put_in_place

if TYPE_CHECKING:
    from astropy.io import fits

log = logging.getLogger(__name__)

SOLVER, BUILDER = "solve-field", "build-astrometry-index"
INDEX_VERSION = 1  # raise it whenever the same stars give another index
_FEWEST = 4  # stars: a quad
_PRESET = "3"  # quads of 5.6 to 8 arcmin: they fit into one detector
_NUMBER = "680001"  # of the index: any
_SWEEPS = "60"  # stars per cell
_QUADS, _REUSE = "24", "12"  # quads per cell; quads a star may be in: enough for a few detectors only
_DUPLICATES = "1"  # arcsec
_POLYNOMIAL = 3  # order of the distortion that is fitted


class PlateError(ArchiveError):
    """An exposure has no plate solution; ``kind`` is the reason in a word."""

    kind = "failed"


class NotInstalledError(PlateError):
    """The programs of astrometry.net are not installed."""

    kind = "not installed"


class NotSolvedError(PlateError):
    """The programs ran and found nothing."""

    kind = "not solved"


class TimedOutError(PlateError):
    """The programs were stopped because they took too long."""

    kind = "timed out"


@dataclass(frozen=True)
class StarField:
    """The stars of one image, brightest first.

    ``x``, ``y`` [px, the first pixel's centre is 1], ``width``, ``height`` [px], and
    the limits ``scales`` of the pixel scale [arcsec/px].
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    width: int
    height: int
    scales: tuple[float, float]


@dataclass(frozen=True)
class SolveFieldResult:
    """The solution of solve-field.

    ``header`` is its FITS header (TAN-SIP); ``x``, ``y`` [px], ``ra``, ``dec`` [deg] are the
    pairs of image and index stars it accepts; ``index_ra``, ``index_dec`` [deg] are all stars of
    the index in the image; ``index`` is ``reference`` or ``installed``.
    """

    header: fits.Header
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    index_ra: NDArray[np.float64]
    index_dec: NDArray[np.float64]
    index: str


class Deadline:
    """The time by which all programs of one exposure must have ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def part(self, fraction: float) -> Deadline:
        """Set a deadline after a part of the time left."""
        return Deadline(fraction * self.left())

    def left(self) -> float:
        """Compute the time left [s].

        Raises
        ------
        TimedOutError
            If there is none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimedOutError(f"not solved within {self.seconds:g} s")
        return left


def find_program(name: str) -> str:
    """Find a program.

    Raises
    ------
    NotInstalledError
        If it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise NotInstalledError(f"{name} is not installed; install astrometry.net, or set plate.solve=no")
    return found


def build_index(stars: Mapping[str, NDArray], path: Path, deadline: Deadline) -> Path:
    """Build an index from reference stars, unless it is there already.

    Parameters
    ----------
    stars : mapping of arrays, shape (n,)
        ``RA``, ``DEC`` [deg], ``RANK``: quads are made of the stars of lowest rank, which should
        be those an image is sure to show.
    path : Path
        Where the index is kept; its name should change with the stars. Several
        processes may need it: one builds it, the others wait.
    deadline : Deadline
        When to give up.

    Returns
    -------
    Path
        The index.

    Raises
    ------
    PlateError
        If it cannot be built.
    """
    from filelock import FileLock, Timeout

    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.parent / f".{path.stem}.lock", timeout=deadline.left()):
            if not path.is_file():
                _build(stars, path, deadline)
    except Timeout as error:
        raise TimedOutError(
            f"another process has been building {path.name} for {deadline.seconds:g} s"
        ) from error
    return path


def _build(stars: Mapping[str, NDArray], path: Path, deadline: Deadline) -> None:
    builder = find_program(BUILDER)
    n = len(stars["RANK"])
    if n < _FEWEST:
        raise NotSolvedError(f"{n} reference stars: no index can be built")
    order = np.argsort(stars["RANK"])
    columns = {name: np.asarray(stars[name], dtype=float)[order] for name in ("RA", "DEC", "RANK")}
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        work = Path(folder)
        _write_table(columns, work / "stars.fits")
        files = ["-i", "stars.fits", "-o", "index.fits", "-I", _NUMBER, "-M", "-t", "."]
        columns_read = ["-A", "RA", "-D", "DEC", "-S", "RANK"]
        density = ["-P", _PRESET, "-r", _DUPLICATES, "-n", _SWEEPS, "-p", _QUADS, "-R", _REUSE, "-E"]
        _run([builder, *files, *columns_read, *density], work, deadline)
        if not (work / "index.fits").is_file():
            raise NotSolvedError(f"{BUILDER} made no index of {n} reference stars")
        put_in_place(work / "index.fits", path)


def solve(
    field: StarField,
    indexes: Sequence[Path],
    around: tuple[float, float, float] | None,
    deadline: Deadline,
) -> SolveFieldResult:
    """Solve a star field.

    Parameters
    ----------
    field : StarField
        Stars of the image.
    indexes : sequence of Path
        Indexes to search; empty: all that are installed.
    around : (float, float, float) or None
        RA, Dec and radius [deg] of the search; None: the whole sky.
    deadline : Deadline
        When to give up.

    Returns
    -------
    SolveFieldResult
        Header and pairs.

    Raises
    ------
    NotInstalledError, NotSolvedError, TimedOutError
    """
    from astropy.io import fits

    solver = find_program(SOLVER)
    if len(field.x) < _FEWEST:
        raise NotSolvedError(f"{len(field.x)} stars: too few for a solution")
    with tempfile.TemporaryDirectory(prefix="visql-plate-") as folder:
        work = Path(folder)
        _write_field(field, work / "field.xyls")
        command = [solver, *_options(field, deadline), *_position(around)]
        if indexes:
            _write_config(indexes, work)
            command += ["--config", "engine.cfg"]
        output = _run([*command, "field.xyls"], work, deadline)
        if not (work / "field.wcs").is_file():
            raise NotSolvedError(_error_line(output) or "no match with the index stars")
        header = fits.getheader(work / "field.wcs")
        pairs, there = fits.getdata(work / "field.corr"), fits.getdata(work / "field.rdls")
        return SolveFieldResult(
            header=header,
            x=np.array(pairs["field_x"], dtype=float),
            y=np.array(pairs["field_y"], dtype=float),
            ra=np.array(pairs["index_ra"], dtype=float),
            dec=np.array(pairs["index_dec"], dtype=float),
            index_ra=np.array(there["RA"], dtype=float),
            index_dec=np.array(there["DEC"], dtype=float),
            index="reference" if indexes else "installed",
        )


def _write_field(field: StarField, path: Path) -> None:
    flux = np.arange(len(field.x), 0, -1, dtype=float)  # the order is all that counts
    _write_table({"X": field.x, "Y": field.y, "FLUX": flux}, path)


def _write_table(columns: Mapping[str, NDArray], path: Path) -> None:
    """Write numbers as a FITS table; astropy's own tables take longer to load than to solve."""
    from astropy.io import fits

    parts = [fits.Column(name, "D", array=np.asarray(values, float)) for name, values in columns.items()]
    fits.BinTableHDU.from_columns(parts).writeto(path)


def _write_config(indexes: Sequence[Path], work: Path) -> None:
    """List the indexes under plain names: paths may hold blanks, which the list does not support."""
    lines = ["add_path ."]
    for number, index in enumerate(indexes):
        (work / f"index{number}.fits").symlink_to(index.resolve())
        lines.append(f"index index{number}.fits")
    (work / "engine.cfg").write_text("\n".join([*lines, ""]))


def _options(field: StarField, deadline: Deadline) -> list[str]:
    low, high = field.scales
    limit = max(1, math.ceil(deadline.left()))  # s; 0 would be none
    options = ["--no-plots", "--overwrite", "--temp-dir", ".", "--dir", ".", "--cpulimit", str(limit)]
    options += ["--width", str(field.width), "--height", str(field.height)]
    options += ["--x-column", "X", "--y-column", "Y", "--sort-column", "FLUX"]
    options += ["--scale-units", "arcsecperpix", "--scale-low", f"{low:.6f}", "--scale-high", f"{high:.6f}"]
    # The stars were selected already; the helpers that do it again need a Python of their own.
    options += ["--no-remove-lines", "--uniformize", "0", "--crpix-center"]
    options += ["--tweak-order", str(_POLYNOMIAL), "--wcs", "field.wcs", "--corr", "field.corr"]
    options += ["--rdls", "field.rdls"]
    return [*options, "--new-fits", "none", "--match", "none", "--index-xyls", "none"]


def _position(around: tuple[float, float, float] | None) -> list[str]:
    if around is None:
        return []
    ra, dec, radius = around
    return ["--ra", f"{ra:.6f}", "--dec", f"{dec:.6f}", "--radius", f"{radius:.4f}"]


def _run(command: Sequence[str], folder: Path, deadline: Deadline) -> str:
    """Run a program in a folder and return its output; its whole group ends with the deadline."""
    left = deadline.left()
    environment = {**os.environ, "LC_ALL": "C", "TMPDIR": "."}
    with subprocess.Popen(
        list(command),
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            raise TimedOutError(f"{Path(command[0]).name} took longer than {deadline.seconds:g} s") from None
        finally:
            _end_group(process)
    text = output.decode("utf-8", "replace")
    log.debug("%s", text)
    if process.returncode:
        raise NotSolvedError(_error_line(text) or f"{Path(command[0]).name} ended with {process.returncode}")
    return text


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and all it started, also on an interruption; one that ended already is fine."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _error_line(output: str) -> str:
    """Find the line of a program's output that reports an error, empty if there is none."""
    lines = [line.strip() for line in output.splitlines()]
    if any("must list at least one index" in line for line in lines):
        return "no index is installed"
    words = ("error", "failed to", "couldn't", "no such file")
    return next((line for line in lines if any(word in line.lower() for word in words)), "")[:200]
