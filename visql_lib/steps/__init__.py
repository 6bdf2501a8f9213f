"""The steps over one exposure: the rooms' functions run over its quadrants, one at a time."""
