"""Movies: frames drawn from tables, kept, and encoded."""
