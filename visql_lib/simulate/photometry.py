"""From magnitude and colour to ADU."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.instruments.model import Instrument


def gaia_flux(g: ArrayLike) -> NDArray:
    """Compute Gf = 10^(-0.4 (G - 30)) / 1.5 (docs/measurements.md, section 4)."""
    return np.asarray(10 ** (-0.4 * (np.asarray(g, dtype=float) - 30)) / 1.5)


def colour_ratio(bp_rp: ArrayLike, instrument: Instrument) -> NDArray:
    """Compute V/Gf without ice: ln of the ratio is the quadratic of BP-RP [mag] through the quoted three."""
    facts = instrument.simulation
    relation = np.polyfit(facts.flux_ratio_colours, np.log(facts.flux_ratios), 2)
    return np.asarray(np.exp(np.polyval(relation, np.asarray(bp_rp, dtype=float))))


def ice_loss(bp_rp: ArrayLike, instrument: Instrument, ice: float, slope: float) -> NDArray:
    """Compute the fraction of the flux that is left by ice.

    Parameters
    ----------
    bp_rp : array_like
        Colour [mag].
    instrument : Instrument
        Says which colour is the middle one.
    ice : float
        Loss at the middle colour [mag].
    slope : float
        Further loss [mag] per magnitude of colour.
    """
    middle = instrument.simulation.flux_ratio_colours[1]
    loss = ice + slope * (np.asarray(bp_rp, dtype=float) - middle)
    return np.asarray(10 ** (-0.4 * loss))


def expected_flux(
    g: ArrayLike,
    bp_rp: ArrayLike,
    exptime: float,
    instrument: Instrument,
    ice: float = 0.0,
    slope: float = 0.0,
) -> NDArray:
    """Compute the flux [ADU] of stars after `exptime` [s] in a quadrant of gain factor 1."""
    v = gaia_flux(g) * colour_ratio(bp_rp, instrument) * ice_loss(bp_rp, instrument, ice, slope)
    return np.asarray(v * exptime / instrument.photometry.reference_exptime)
