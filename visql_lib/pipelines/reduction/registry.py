"""What is made of a night of CCD frames: the registry of its stages and products."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from visql_lib.errors import TableError
from visql_lib.pipelines.reduction.grouping import FRAME as E
from visql_lib.pipelines.reduction.grouping import NIGHTS, SHEET, N
from visql_lib.pipelines.reduction.quantities import QUANTITIES
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.pipelines.reduction.versions import VERSIONS
from visql_lib.products.registry import Per, Product, Registry, Stage
from visql_lib.products.shared_stages import qc_stage, site_stages

_FACTS = ("header", "amplifiers", "frame_types", "bits", "bit_shift")  # what reading a raw frame needs
_ODD = ("odd_sigma", "keep")


def _master(kind: str, doc: str) -> tuple[Product, Product, Product]:
    """Return the products of a master: itself, what became of its frames, its picture."""
    path = f"{N}/masters/{{{kind}}}"
    return (
        Product(f"{path}.fits", doc),
        Product(f"{path}.parquet", "what became of each of its frames"),
        Product(f"{path}.png", "its picture"),
    )


BIAS, DARK, FLAT = (
    _master("bias", "master bias, ERR, MASK, N"),
    _master("dark", "master dark: at its EXPTIME; OFFSET and RATE per pixel with variances"),
    _master("flat", "master flat, mean 1, ERR, MASK, N"),
)
PIXELS = (
    Product(f"{N}/masters/{{pixels}}.fits", "map of bad pixels: hot, dead, columns"),
    Product(f"{N}/masters/{{pixels}}.png", "its picture"),
)
CHUNK = Product(f"{N}/frames/{{chunk}}.parquet", "what became of each light of a chunk")
LIGHT = Product(f"{E}.fits", "reduced light, ERR, MASK", "Reduced frame", "Frames")
REGISTRATION = Product(f"{N}/stacks/{{stack}}_registration.parquet", "where the lights of a stack lie")
STACK = (
    Product(f"{N}/stacks/{{stack}}.fits", "stack, ERR, MASK, N"),
    Product(f"{N}/stacks/{{stack}}.png", "its picture"),
)
TABLES = (
    Product(f"{N}/frames_{{night}}.parquet", "what became of each frame of the night"),
    Product(f"{N}/masters_{{night}}.parquet", "its masters: levels, noise, gain, dark rate"),
    Product(f"{N}/stacks_{{night}}.parquet", "its stacks: frames, exposure time, FWHM, depth"),
)


def _stage(name: str, outputs: tuple[Product, ...], **more: Any) -> Stage:
    """Make a stage with a job for each set of a night."""
    return Stage(
        name,
        Per.GROUP,
        outputs,
        {name: VERSIONS[name]},
        each=True,
        log=f"{name}/{{group}}/{{output}}",
        function=f"visql_lib.pipelines.reduction.stages.{name}:run",
        **more,
    )


STAGES = (
    _stage(
        "master_bias",
        BIAS,
        settings=("overscan", "masters"),
        counted={"masters": _ODD},
        facts=_FACTS,
        category="calibration",
    ),
    _stage(
        "master_dark",
        DARK,
        inputs=(BIAS[0].path,),
        settings=("overscan", "masters"),
        counted={"masters": _ODD},
        facts=_FACTS,
        category="calibration",
    ),
    _stage(
        "master_flat",
        FLAT,
        inputs=(BIAS[0].path, DARK[0].path),
        settings=("overscan", "masters"),
        counted={"masters": (*_ODD, "flat_low", "flat_high", "flat_method", "lowest_response")},
        facts=_FACTS,
        category="calibration",
    ),
    _stage(
        "bad_pixels",
        PIXELS,
        inputs=(DARK[0].path, FLAT[0].path),
        settings=("masters",),
        counted={"masters": ("bad_sigma",)},
        category="calibration",
    ),
    _stage(
        "reduce",
        (CHUNK,),
        inputs=(BIAS[0].path, DARK[0].path, FLAT[0].path, PIXELS[0].path),
        settings=("overscan", "reduce"),
        counted={"reduce": ("allow_missing", "electrons", "cosmic_rays", "cosmic_sigma", "cosmic_fwhm")},
        facts=_FACTS,
        category="lights",
    ),
    Stage(
        "reduce_lost",
        Per.FRAME,
        (LIGHT,),
        {"reduce": VERSIONS["reduce"]},
        program="reduce",
        inputs=("raw", CHUNK.path),
        command="visql reduce {raw} -o {folder} {masters}",
        settings=("overscan", "reduce"),
        counted={"reduce": ("allow_missing", "electrons", "cosmic_rays", "cosmic_sigma", "cosmic_fwhm")},
        facts=_FACTS,
        types=("SCIENCE",),
        applies=lambda plan, row: plan.is_reduced(row),
        category="lights",
    ),
    _stage(
        "register",
        (REGISTRATION,),
        inputs=(CHUNK.path, LIGHT.path),
        settings=("registration",),
        category="lights",
    ),
    _stage(
        "stack",
        STACK,
        inputs=(CHUNK.path, LIGHT.path, REGISTRATION.path),
        settings=("stack",),
        category="lights",
    ),
    Stage(
        "night_tables",
        Per.GROUP,
        TABLES,
        {"night_tables": VERSIONS["night_tables"]},
        inputs=(
            *(BIAS[1].path, DARK[1].path, FLAT[1].path, PIXELS[0].path),
            *(CHUNK.path, REGISTRATION.path, STACK[0].path, "sheet"),
        ),
        settings=("reduce",),
        counted={"reduce": ("chunk",)},
        facts=_FACTS,
        category="acquisition",
        function="visql_lib.pipelines.reduction.stages.night_tables:run",
    ),
    qc_stage(NIGHTS, QUANTITIES, "acquisition"),
)


def _values(frame: Any) -> dict[str, Any]:
    """Return the words of the commands of a frame."""
    light = Path(f"{frame.stem}.fits")
    folder = light.parent.as_posix()
    return {"raw": frame.row.file, "stem": frame.stem, "folder": folder, "masters": _masters_of(light)}


def _masters_of(light: Path) -> list[str]:
    """Return the options that name the masters of a reduced light, by its record; none without a record."""
    from visql_lib.tables.provenance import NoRecordError, read_record

    try:
        inputs = read_record(light)["inputs"]
    except (NoRecordError, TableError, OSError):
        return []
    words = []
    for name, told in inputs.items():
        kind = next((k for k in ("bias", "dark", "flat", "bad_pixels") if Path(name).name.startswith(k)), "")
        if kind and isinstance(told, str):  # of a raw frame more is told
            words += [f"--{kind.replace('_', '-')}", os.path.normpath(light.parent / name)]
    return words


REGISTRY = Registry(
    pipeline="reduction",
    grouping=NIGHTS,
    stages=(*STAGES, *site_stages()),
    quantities=QUANTITIES,
    default_target="night",
    targets={
        "masters": ("master_bias", "master_dark", "master_flat", "bad_pixels"),
        "lights": ("reduce",),
        "stacks": ("stack",),
        "report": ("night_tables", "qc"),
    },
    values=_values,
    sections=("Frames",),
    plan="visql_lib.pipelines.reduction.plan:ReductionPlan",
    pages="visql_lib.pipelines.reduction.pages.pages:ReductionPages",
    states=TABLES[0].path,
    failed=(FrameStatus.FAILED, FrameStatus.UNCALIBRATED),
    advice="Add the frames that are lacking, allow lights to lack them (reduce.allow_missing), or list what "
    "is no good in known_bad.",
    beside=(
        Product(SHEET, "exposure sheet of a night"),
        Product("up_to_date/", "cache of exposures that are up to date"),
        Product("logs/", "one log per job"),
        Product("benchmarks/", "time and memory of each job"),
        Product("config/", "settings given to the command of each rule"),
    ),
)
