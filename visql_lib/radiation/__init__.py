"""Particles on the detectors, and the X-ray flux of the Sun: formulas only."""
