"""Euclid VIS: quick-look of months of frames."""
