"""Tables of exposures in, tables of months out."""
