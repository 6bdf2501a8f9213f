"""The trend of a place as records: limits, steps, forecasts, and the rows of all places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.ratios import QUOTED_COLOURS

COLOURS = QUOTED_COLOURS  # BP-RP [mag] of R1, R2, R3


@dataclass(frozen=True)
class TrendLimits:
    """The limits that losses and rates are judged by, and the loss that is forecast.

    Parameters
    ----------
    loss : float
        Loss whose date is forecast [mmag].
    warn_loss, error_loss : float
        Losses [mmag] that warn, and that are an error.
    warn_rate, error_rate : float
        The same of rates [mmag/d].
    min_days : int
        Days since the last break that a forecast, or a status from a rate, needs at least.
    """

    loss: float = 50.0
    warn_loss: float = 20.0
    error_loss: float = 40.0
    warn_rate: float = 0.3
    error_rate: float = 1.0
    min_days: int = 5

    def of(self, quantity: str, status: str) -> float:
        """Return the limit of a quantity, ``loss`` or ``rate``, from which its status is warn or error."""
        limits = {
            ("loss", "warn"): self.warn_loss,
            ("loss", "error"): self.error_loss,
            ("rate", "warn"): self.warn_rate,
            ("rate", "error"): self.error_rate,
        }
        return limits[quantity, status]


@dataclass(frozen=True)
class Step:
    """A sudden change of the loss in one place.

    Parameters
    ----------
    date : datetime64
        Halfway between the last day before and the first day after (UTC).
    date_err : float
        Its standard error [d].
    sizes, errors : arrays, shape (3,)
        Change of the loss per colour [mmag], negative where flux was gained, and
        standard errors; NaN where a colour has no data.
    significance : float
        Change of the mean of the colours in standard errors.
    """

    date: np.datetime64
    date_err: float
    sizes: NDArray[np.floating]
    errors: NDArray[np.floating]
    significance: float

    def record(self) -> dict[str, Any]:
        """Convert the step to plain values for a table's metadata, None where not known."""
        return {
            "date": _iso(self.date),
            "date_err": _plain(self.date_err, 2),
            "size": [_plain(v, 3) for v in self.sizes],
            "size_err": [_plain(v, 3) for v in self.errors],
            "significance": _plain(self.significance, 1),
        }


@dataclass(frozen=True)
class Forecast:
    """When one colour reaches the configured loss, if the last rate goes on.

    Parameters
    ----------
    colour : float
        BP-RP [mag].
    loss : float
        The configured loss [mmag].
    reached : bool
        Whether the model has it already.
    date, early, late : datetime64
        Median, 16 % and 84 % of the date (UTC); NaT where the rate is not
        significantly positive, or rests on fewer than the configured days.
    """

    colour: float
    loss: float
    reached: bool
    date: np.datetime64
    early: np.datetime64
    late: np.datetime64

    def record(self) -> dict[str, Any]:
        """Convert the forecast to plain values for a table's metadata, None where there is none."""
        dates = {"date": _iso(self.date), "early": _iso(self.early), "late": _iso(self.late)}
        return {"colour": self.colour, "loss": self.loss, "reached": self.reached, **dates}


@dataclass(frozen=True)
class PlaceTrend:
    """The trend of one place, class and field; arrays of shape (n, 3) follow the rows given.

    Parameters
    ----------
    loss, loss_err : arrays [mmag]
        Loss against the clean epoch and its standard error, without that of the
        clean epoch; where a row has no error, the scatter of the days. NaN
        where the ratio is not known.
    model, rate, rate_err : arrays [mmag, mmag/d, mmag/d]
        Fitted lines; NaN where the data do not tell.
    status : array of str
        ok, warn, error or unknown.
    clean_err : array, shape (3,)
        Standard error of the clean epoch [mmag].
    steps : tuple of Step
    breaks : tuple of datetime64
        Other breaks: changes of rate, and jumps that a curve explains as well.
    forecasts : tuple of Forecast
        One per colour.
    odd_days : int
        Days set aside as outliers.
    notes : tuple of str
        What a reader must know.
    """

    loss: NDArray[np.floating]
    loss_err: NDArray[np.floating]
    model: NDArray[np.floating]
    rate: NDArray[np.floating]
    rate_err: NDArray[np.floating]
    status: NDArray[np.str_]
    clean_err: NDArray[np.floating]
    steps: tuple[Step, ...]
    breaks: tuple[np.datetime64, ...]
    forecasts: tuple[Forecast, ...]
    odd_days: int
    notes: tuple[str, ...]


@dataclass
class Trends:
    """The trends of all places: the columns of TREND, and records for its metadata."""

    table: dict[str, NDArray]
    steps: list[dict[str, Any]] = field(default_factory=list)
    forecast: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _plain(value: float, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def _iso(date: np.datetime64) -> str | None:
    return None if np.isnat(date) else str(date.astype("datetime64[s]"))
