"""Where the products of VIS lie, below the results."""

E = "exposures/{month}/{exposure}/{exposure}"  # and the product's ending
M = "months/{month}"
T = "timeline"

SHEET = "exposures/{month}.tsv"
TILE = "gaia/nside{nside}/{tile}.parquet"
GOES_DAY = "goes/goes_{day}.parquet"
