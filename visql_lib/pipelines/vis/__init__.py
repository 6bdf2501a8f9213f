"""Euclid VIS: image quality, flux ratios and ice, radiation, detectors."""
