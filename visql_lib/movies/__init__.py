"""Movies: frames drawn from tables, encoded and cached by day."""
