"""The hash of all checksums."""

from __future__ import annotations

from typing import Any


def new_hash(content: bytes = b"") -> Any:
    """Start a checksum: XXH3, which finds damage and mistakes, not forgery."""
    import xxhash

    return xxhash.xxh3_128(content)
