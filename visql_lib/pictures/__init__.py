"""Room: pictures."""
