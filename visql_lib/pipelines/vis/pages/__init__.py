"""What the pages of VIS show besides tables: interactive plots, overlays of the viewer."""
