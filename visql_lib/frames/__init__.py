"""A raw exposure as quadrants, and the instrument it comes from."""

from visql_lib.frames.exposure import Exposure, Quadrant, open_exposure
from visql_lib.frames.header import ExposureHeader
from visql_lib.frames.instrument import Instrument, load_instrument
from visql_lib.frames.layout import QuadrantLayout
from visql_lib.frames.names import ArchiveName, RawName

__all__ = [
    "ArchiveName",
    "Exposure",
    "ExposureHeader",
    "Instrument",
    "Quadrant",
    "QuadrantLayout",
    "RawName",
    "load_instrument",
    "open_exposure",
]
