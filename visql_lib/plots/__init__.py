"""Interactive plots: tables in, HTML and data out."""
