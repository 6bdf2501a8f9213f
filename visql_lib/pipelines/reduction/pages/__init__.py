"""What the pages of the reduction show besides tables: the night, and its calibrations over all nights."""
