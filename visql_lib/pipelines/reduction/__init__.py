"""A night of CCD frames: calibration sets so far; stages and rules follow."""
