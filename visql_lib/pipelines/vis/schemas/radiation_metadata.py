"""What the tables of an exposure's particles hold in their metadata."""

from __future__ import annotations

from visql_lib.radiation.maps import Grid
from visql_lib.tables.metadata import FrameMetadata, Metadata, Number, number, value

_RATE, _AREA = "1 / (s cm2)", "cm2"
_EXCESS = "count of the tenth-fullest bin of the map minus that of the median bin"


class RadiationSummary(Metadata):
    """The particles of a whole exposure; named as the columns of a month's table."""

    AREA: Number = number(_AREA, "image sections")
    N_XRAY: int = value(0, "", "detected X-rays")
    N_COSMIC: int = value(0, "", "detected cosmics")
    N_PROTON: int = value(0, "", "detected protons")
    XRAY_RATE: Number = number(_RATE, "rate of X-rays")
    XRAY_RATE_ERR: Number = number(_RATE, "its Poisson error")
    COSMIC_RATE: Number = number(_RATE, "rate of cosmics")
    COSMIC_RATE_ERR: Number = number(_RATE, "its Poisson error")
    PROTON_RATE: Number = number(_RATE, "rate of protons")
    PROTON_RATE_ERR: Number = number(_RATE, "its Poisson error")
    XRAY_EXCESS: Number = number("", _EXCESS)
    COSMIC_EXCESS: Number = number("", "the same for the map of cosmic rays")
    PROTON_EXCESS: Number = number("", "the same for the map of protons")
    LIT_AREA: Number = number(_AREA, "area illuminated by X-rays")
    LIT_RATE: Number = number(_RATE, "rate of X-rays there, above that of the unilluminated part")
    LIT_RATE_ERR: Number = number(_RATE, "its Poisson error")
    XRAY_DARK_RATE: Number = number(_RATE, "rate of X-rays in the unilluminated part")
    COSMIC_DARK_RATE: Number = number(_RATE, "rate of cosmic rays there")
    FLAGS: int = value(0, "", "RadiationFlag bits")


class RadiationMetadata(FrameMetadata):
    """The frame, the bins of its maps, and its particles as a whole."""

    grids: dict[str, Grid] = value(
        {}, "deg", "first edge, step and number of bins in x and y, of each map; of rf in px and dex of ADU"
    )
    radiation: RadiationSummary | None = value(None, "", "the whole exposure")
