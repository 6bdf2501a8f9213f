"""Pictures of the light curves: of frames, sets and targets."""
