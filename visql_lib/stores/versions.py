"""Versions of what is kept of the outside world: raised when its content changes for the same question."""

GAIA_TILE_VERSION = 1
GOES_DAY_VERSION = 2
