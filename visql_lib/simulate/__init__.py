"""Raw exposures with known truth, in the instrument's own format."""

from visql_lib.simulate.exposure import SimulatedExposure, Truth, simulate_exposure
from visql_lib.simulate.optics import PsfModel, psf_model
from visql_lib.simulate.plan import ExposureOptions, exposures_of

__all__ = [
    "ExposureOptions",
    "PsfModel",
    "SimulatedExposure",
    "Truth",
    "exposures_of",
    "psf_model",
    "simulate_exposure",
]
