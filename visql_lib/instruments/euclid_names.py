"""Names of Euclid VIS alone: of its raw files and archive products, parsed and built both ways.

Its simulator, archive and imported tables need them; all others read names as the
instrument's file says (`visql_lib.instruments.names`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import numpy as np

from visql_lib.errors import NameFormatError
from visql_lib.instruments.names import stem_of

# ASCII only: a name becomes a path, and there are other digits that Python would take. strftime leaves out
# the leading zeros of early years.
_RAW = re.compile(
    r"C_(?P<start>[12]\d{7}_\d{6})_(?P<mode>[A-Z])_(?P<hex_id>[0-9A-F]{8})\.VIS"
    r"\.bin_(?P<exposure>\d\d)_(?P<version>\d\d)",
    re.ASCII,
)
_ARCHIVE = re.compile(
    r"EUC_LE1_VIS-(?P<obs_id>\d{5})-(?P<dither>\d+)-(?P<mode>[A-Z])_(?P<start>[12]\d{7}T\d{6}\.\d{6})Z"
    r"_(?P<exposure>\d\d)_(?P<version>\d\d)_(?P<processing>\d\d\.\d\d)_EUCLIDSOC",
    re.ASCII,
)


@dataclass(frozen=True, order=True)
class RawName:
    """Name of a raw file: ``C_YYYYMMDD_HHMMSS_M_HHHHHHHH.VIS.bin_NN_VV.fits``."""

    start: datetime  # UTC
    mode: str  # mode letter
    hex_id: str
    exposure: int  # number in the sequence
    version: int

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parse a file name or a stem.

        Raises
        ------
        NameFormatError
            If the name is none of a raw frame.
        """
        match = _RAW.fullmatch(stem_of(name))
        try:
            if match:
                start = datetime.strptime(match["start"], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
                return cls(
                    start, match["mode"], match["hex_id"], int(match["exposure"]), int(match["version"])
                )
        except ValueError:
            pass
        raise NameFormatError(f"{name}: not a raw file's name (C_YYYYMMDD_HHMMSS_M_HHHHHHHH.VIS.bin_NN_VV)")

    @property
    def stem(self) -> str:
        """The name without ``.fits``: how an exposure is called everywhere."""
        return (
            f"C_{self.start:%Y%m%d_%H%M%S}_{self.mode}_{self.hex_id}.VIS"
            f".bin_{self.exposure:02d}_{self.version:02d}"
        )

    @property
    def month(self) -> str:
        """Month of the start, YYYYMM."""
        return f"{self.start:%Y%m}"


def start_from_name(exposure: str) -> np.datetime64:
    """Return the start of an exposure [UTC, whole seconds] from its name, NaT if that holds none."""
    try:
        return np.datetime64(RawName.parse(exposure).start.replace(tzinfo=None), "us")
    except NameFormatError:
        return np.datetime64("NaT", "us")


@dataclass(frozen=True, order=True)
class ArchiveName:
    """Name of an archive product: ``EUC_LE1_VIS-OOOOO-D-M_YYYYMMDDTHHMMSS.ssssssZ_NN_VV_vv.vv_EUCLIDSOC``."""

    obs_id: int
    dither: int
    mode: str
    start: datetime  # UTC
    exposure: int
    version: int
    processing: str  # "vv.vv"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parse an archive name, with or without ``.fits`` or ``.fits.gz``.

        Raises
        ------
        NameFormatError
            If it is none.
        """
        match = _ARCHIVE.fullmatch(stem_of(name))
        try:
            start = datetime.strptime(match["start"], "%Y%m%dT%H%M%S.%f") if match else None
        except ValueError:  # 31 June
            start = None
        if not match or not start:
            raise NameFormatError(f"{name}: not an archive name (EUC_LE1_VIS-...-_EUCLIDSOC)")
        return cls(
            int(match["obs_id"]),
            int(match["dither"]),
            match["mode"],
            start.replace(tzinfo=UTC),
            int(match["exposure"]),
            int(match["version"]),
            match["processing"],
        )

    def __str__(self) -> str:
        return (
            f"EUC_LE1_VIS-{self.obs_id:05d}-{self.dither}-{self.mode}_{self.start:%Y%m%dT%H%M%S.%f}Z"
            f"_{self.exposure:02d}_{self.version:02d}_{self.processing}_EUCLIDSOC"
        )

    @property
    def download_stem(self) -> str:
        """First part of the name of the archive's file: 57 characters, without ``_EUCLIDSOC``."""
        return str(self).removesuffix("_EUCLIDSOC")

    def local_stem(self, raw_file: str) -> str:
        """Return the stem VISQL gives this product, from the name of the raw file it was made of."""
        root = stem_of(raw_file).split(".bin")[0]
        return f"{root}.bin_{self.exposure:02d}_{self.version:02d}"
