"""The version of every stage.

Raise a stage's version whenever its numbers or its pictures change (the last digits alone,
as another order of a sum gives them, need not where making them again costs hours): the rules
carry it in ``params``, so that exactly the products of that stage and what
hangs on them are made again.
"""

STAGES: dict[str, int] = {
    "catalog": 5,
    "preview": 2,
    "stars": 1,
    "moments": 1,
    "pictures": 1,
    "gaia_tile": 1,
    "gaia_project": 1,
    "gaia_match": 1,
    "gaia_pictures": 1,
    "geometry": 2,
    "ratios": 2,
    "ratio_pictures": 1,
    "ratio_sheets": 1,
    "trend": 2,
    "month_trend": 1,
    "radiation": 1,
    "radiation_pictures": 1,
    "month_radiation": 1,
    "goes": 2,
    "goes_pictures": 1,
    "angles": 1,
    "plate": 1,
    "detector": 2,
    "detector_pictures": 1,
    "movies": 4,
    "performance": 1,
    "fetch": 1,
    "pyramid": 1,
    "site": 1,
    "quality": 2,
    "quality_pictures": 1,
    "legacy": 1,
    "status": 1,
    "qc": 1,
}
