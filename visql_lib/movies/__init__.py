"""Movies: frames drawn from tables, kept, and encoded."""

VERSION = 4  # raised when a frame's looks or its encoding change
