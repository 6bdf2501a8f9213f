"""Pages of the light curves: a target, a frame."""
