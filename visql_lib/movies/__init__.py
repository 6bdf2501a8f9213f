"""Movies: frames drawn from tables, encoded and cached by day."""

VERSION = 4  # raised when a frame's looks or its encoding change
