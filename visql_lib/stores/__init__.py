"""Caches of what external services gave: tiles of reference stars, days of GOES."""
