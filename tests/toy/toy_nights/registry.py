from visql_lib.products.registry import Per, Product, Registry, Stage
from visql_lib.products.shared_stages import qc_stage, site_stages
from visql_lib.qc.quantity import Quantities, Quantity
from visql_lib.sheets.grouping import Grouping

N = "nights/{night}"
E = f"{N}/frames/{{exposure}}"
NIGHTS = Grouping("night", "YYYYMMDD", {"night": r"\d{8}"}, f"{N}.tsv", E, N, f"{N}/{{table}}.parquet")
QUANTITIES = Quantities(
    [Quantity("frame.LEVEL", "level", "adu", "level", "levels", "LEVEL", digits=1, expected=("*",))],
    {"level": "Level", "acquisition": "Acquisition"},
)
LEVEL = Stage(
    "level",
    Per.FRAME,
    (
        Product(f"{E}_level.parquet", "median of its pixels", "Level", "Tables"),
        Product(f"{E}_histogram.png", "its pixels, counted", "Histogram", "Pixels"),
    ),
    {"level": 1},
    ("raw",),
    program="toy-level",
    command="visql toy-level {raw} -o {stem}",
    settings=("pictures",),
    facts=("amplifiers",),
    category="level",
    report=f"{E}_level.parquet",
)
LEVELS = Stage(
    "levels",
    Per.GROUP,
    (Product(f"{N}/levels.parquet", "levels of all frames"),),
    {"levels": 1},
    (f"{E}_level.parquet", "sheet"),
    program="toy-levels",
    category="level",
)
REGISTRY = Registry(
    "toy",
    NIGHTS,
    (LEVEL, LEVELS, qc_stage(NIGHTS, QUANTITIES, "level", settings=("limits",)), *site_stages()),
    QUANTITIES,
    default_target="night",
    targets={},
    words=lambda instrument: {},
    values=lambda frame: {"raw": frame.row.file, "stem": frame.stem},
    sections=("Pixels",),
)
