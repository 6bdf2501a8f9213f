from visql_lib.products.registry import Per, Product, Registry, Stage
from visql_lib.products.shared_stages import qc_stage, site_stages
from visql_lib.qc.quantity import Quantities, Quantity
from visql_lib.sheets.grouping import Grouping

N = "nights/{night}"
E = f"{N}/frames/{{exposure}}"
NIGHTS = Grouping("night", "YYYYMMDD", {"night": r"\d{8}"}, f"{N}.tsv", E, N, f"{N}/{{table}}.parquet")
LEVEL = Quantity("frame.LEVEL", "level", "adu", "level", "levels", "LEVEL", digits=1, expected=("*",))
QUANTITIES = Quantities([LEVEL], {"level": "Level", "acquisition": "Acquisition"})
TABLE = Product(f"{E}_level.parquet", "median of its pixels", "Level", "Tables")
PICTURE = Product(f"{E}_histogram.png", "its pixels, counted", "Histogram", "Pixels")
STAGES = (
    Stage(
        "toy_level",
        Per.FRAME,
        (TABLE, PICTURE),
        {"toy_level": 1},
        inputs=("raw",),
        command="visql toy-level {raw} -o {stem}",
        settings=("pictures",),
        facts=("amplifiers",),
        report=TABLE.path,
    ),
    Stage(
        "toy_levels",
        Per.GROUP,
        (Product(f"{N}/levels.parquet", "levels of all frames"),),
        {"toy_levels": 1},
        inputs=(TABLE.path, "sheet"),
    ),
    qc_stage(NIGHTS, QUANTITIES, "level", settings=("limits",)),
)
REGISTRY = Registry("toy", NIGHTS, (*STAGES, *site_stages()), QUANTITIES, default_target="night")
