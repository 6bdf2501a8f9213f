"""The exposure sheets: one row per raw file, and the search of raw folders that they come from."""
