"""Arithmetic, statistics and combination of images: arrays in, arrays out."""
