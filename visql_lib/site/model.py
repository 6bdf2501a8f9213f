"""What the site shows, as plain values: the pages know nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

# What is judged, in the order of the tiles; see `Exposure.statuses`.
CATEGORIES: dict[str, str] = {
    "quality": "Image quality",
    "photometry": "Photometry and ice",
    "radiation": "Radiation",
    "calibration": "Calibration frames",
    "acquisition": "Acquisition",
}
# Worst first. ``missing``: expected and not made; ``none``: nothing to judge.
STATUSES = ("failed", "error", "warn", "missing", "ok", "none")


@dataclass(frozen=True)
class Quantity:
    """A number of an exposure that the month's table and its timelines show.

    ``key`` is its column, ``category`` where it belongs, ``digits`` how many
    decimals are shown, ``threshold`` its name in the threshold file, "" if none.
    """

    key: str
    label: str
    unit: str
    category: str
    digits: int = 3
    threshold: str = ""


QUANTITIES: tuple[Quantity, ...] = (
    Quantity("R2", "R²", "px²", "quality", 3, "R2"),
    Quantity("e1", "e1", "", "quality", 4, "e1"),
    Quantity("e2", "e2", "", "quality", 4, "e2"),
    Quantity("tr1", "trefoil 1", "", "quality", 3, "tr1"),
    Quantity("tr2", "trefoil 2", "", "quality", 3, "tr2"),
    Quantity("SCORE", "score", "", "quality", 1, "SCORE"),
    Quantity("N_STARS", "stars", "", "quality", 0, "N_STARS"),
    Quantity("R1", "VIS/Gaia 0.75", "", "photometry", 4),
    Quantity("R2G", "VIS/Gaia 1.75", "", "photometry", 4),
    Quantity("R3", "VIS/Gaia 2.75", "", "photometry", 4),
    Quantity("SCATTER", "astrometry", "px", "photometry", 3),
    Quantity("COSMIC_DARK_RATE", "cosmics", "1/cm²/s", "radiation", 3, "COSMIC_DARK_RATE"),
    Quantity("XRAY_RATE", "X-rays", "1/cm²/s", "radiation", 3, "XRAY_RATE"),
    Quantity("PROTON_RATE", "protons", "1/cm²/s", "radiation", 5, "PROTON_RATE"),
    Quantity("LIT_AREA", "lit area", "cm²", "radiation", 1, "LIT_AREA"),
    Quantity("GOES_FLUX", "GOES 0.05-0.4 nm", "W/m²", "radiation", 10),
    Quantity("BIAS", "bias", "ADU", "calibration", 2, "BIAS"),
    Quantity("READ_NOISE", "read noise", "ADU", "calibration", 3, "READ_NOISE"),
    Quantity("SIGNAL", "level", "ADU", "calibration", 2),
    Quantity("DARK_RATE", "dark rate", "ADU/s", "calibration", 5, "DARK_RATE"),
)


@dataclass(frozen=True)
class Finding:
    """Why a status is not ok: the category, the status, what was found and, where known, the limit.

    ``of_month``: it is about the month, and the exposure has it from there.
    """

    category: str
    status: str
    text: str
    of_month: bool = False


@dataclass(frozen=True)
class Exposure:
    """One exposure as the site shows it.

    Values are keyed as in `QUANTITIES`; one that is not known is absent. Times are
    ISO 8601, UTC; angles in deg, times in s, NaN never occurs (None instead).
    """

    name: str
    month: str  # YYYYMM
    date_obs: str  # "" where not known
    frame_type: str
    cls: str  # exposure class, "" for other frames
    exptime: float | None
    obs_id: str
    ra: float | None
    dec: float | None
    pa: float | None
    saa: float | None
    alpha: float | None
    sheet_status: str  # of the exposure sheet
    sheet_reason: str
    statuses: dict[str, str] = field(default_factory=dict)  # by category
    findings: tuple[Finding, ...] = ()
    values: dict[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()  # file names of expected products that are not there

    @property
    def status(self) -> str:
        """The worst status of all categories."""
        return min(self.statuses.values(), key=STATUSES.index, default="none")


@dataclass(frozen=True)
class StepLack:
    """Products of a whole month, or of all months, that one rule should have made and did not.

    ``paths`` are as the workflow names them; ``log`` is relative to the folder of
    results, "" if it tells nothing.
    """

    rule: str
    paths: tuple[str, ...]
    reason: str
    log: str = ""


@dataclass(frozen=True)
class Trend:
    """What the trend of the flux ratios says of a class of exposures at a colour BP-RP [mag], and why."""

    cls: str
    colour: float
    status: str
    reason: str


@dataclass(frozen=True)
class Month:
    """One month: its exposures in order of time, which products of the month exist and which should.

    Products are paths relative to the folder of results; ``asked`` is how many the
    settings ask for.
    """

    name: str  # YYYYMM
    exposures: tuple[Exposure, ...]
    pictures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    movies: tuple[str, ...] = ()
    asked: int = 0
    lacks: tuple[StepLack, ...] = ()
    trends: tuple[Trend, ...] = ()
