"""Instruments as their files describe them: names, headers, amplifiers, types of frames, facts."""

from visql_lib.instruments.amplifiers import Amplifier, LinearWCS
from visql_lib.instruments.model import Instrument, load_instrument

__all__ = ["Amplifier", "Instrument", "LinearWCS", "load_instrument"]
