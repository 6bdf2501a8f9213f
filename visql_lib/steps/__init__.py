"""Steps that process one exposure, one quadrant at a time."""
