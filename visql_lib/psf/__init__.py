"""Room: psf."""
