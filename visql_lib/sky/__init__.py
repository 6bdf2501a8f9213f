"""Room: sky."""
