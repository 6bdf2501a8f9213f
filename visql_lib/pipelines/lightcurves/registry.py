"""What is made of the frames of a target: the registry of its stages and products."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from visql_lib.pipelines.lightcurves.frozen import FROZEN
from visql_lib.pipelines.lightcurves.grouping import FRAME as E
from visql_lib.pipelines.lightcurves.grouping import SETS, SHEET, S, T
from visql_lib.pipelines.lightcurves.quantities import QUANTITIES
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.versions import VERSIONS
from visql_lib.products.registry import Per, Product, Registry, Stage
from visql_lib.products.shared_stages import qc_stage, site_stages

_LOOK = "Look"
_PICTURES = f"{S}/pictures"


def _table(kind: str, doc: str) -> Product:
    return Product(f"{S}/{kind}_{{set}}.parquet", doc)


def _chunk_table(kind: str, doc: str) -> Product:
    return Product(f"{S}/chunks/{{night}}_{kind}.parquet", doc)


CAT = Product(f"{E}_cat.parquet", "sources of a frame", "Sources", "Tables")
SKY = Product(f"{E}_sky.fits", "map of its sky and noise", "Sky", "Tables")
APERTURES_OF = Product(f"{E}_apertures.parquet", "aperture photometry of its stars", "Apertures", "Tables")
STAMPS = Product(f"{E}_stamps.fits", "stamps of stars and target: data, sigma, mask", "Stamps", "Tables")
PSF_OF = Product(f"{E}_psf.fits", "its PSF", "PSF", "Tables")
LOOKS = (
    Product(f"{E}_stamp.png", "the target: stamp, model, residual", "Target", _LOOK),
    Product(f"{E}_stars.png", "its PSF stars: stamps and residuals", "PSF stars", _LOOK),
)
C_FRAME = _chunk_table("frame", "frames of a night: time, sky, seeing")
C_MEASURE = _chunk_table("measure", "frames of a night: where they lie on the reference")
C_PSF = _chunk_table("psf", "frames of a night: their PSF, and fluxes of stars")
FRINGES = Product(f"{S}/fringes/{{night}}.fits", "map of fringes of a night")
FRAMES = _table("frames", "frames of the set: time, sky, seeing, what became of each")
TRANSFORMS = _table("transforms", "where the frames lie on the reference")
APERTURES = _table("apertures", "aperture photometry of the stars")
REFERENCE = Product(FROZEN["reference"].path, "reference frame of a target, its stars")
STARS = Product(FROZEN["stars"].path, "comparison stars")
PSF_MODEL = Product(FROZEN["psf"].path, "whether the PSF changes over the frame")
SCENE = Product(FROZEN["scene"].path, "model of the target: smoothness of the galaxy, core")
MEDCOEFF = _table("medcoeff", "coefficients of the frames by aperture photometry")
STACK = (
    Product(f"{S}/stack_{{set}}.fits", "deep stack"),
    Product(f"{S}/chart_{{set}}.png", "finding chart with the names of the stars"),
)
PSF = _table("psf", "PSF of each frame")
STAR_FLUXES = _table("starfluxes", "PSF photometry of the stars")
RENORM = _table("renorm", "coefficients of the frames by PSF photometry")
TARGET = (
    _table("target", "fluxes of the point sources in all frames"),
    Product(f"{S}/target_{{set}}.fits", "galaxy, core, positions, deconvolved field"),
)
FLUXES = _table("fluxes", "light curve by frame")
NIGHTS = _table("nights", "light curve by night")
CURVE = (
    Product(f"{T}/{{target}}.parquet", "light curve of all sets by night"),
    Product(f"{T}/{{target}}.rdb", "the same, as other programs read it"),
    Product(f"{T}/{{target}}.ecsv", "the same, as text"),
    Product(f"{T}/decisions.parquet", "what was decided about frames and stars, why, by whom"),
    Product(f"{T}/README.md", "what was done, and what was left out"),
)
SET_PICTURES = tuple(
    Product(f"{_PICTURES}/{name}_{{set}}.png", doc)
    for name, doc in (
        ("coefficients", "coefficients by aperture and by PSF photometry"),
        ("stars", "light curve of each star"),
        ("histograms", "histograms of seeing, sky, coefficients"),
        ("conditions", "seeing, airmass, sky, ellipticity"),
        ("residuals", "residuals against seeing and shift"),
        ("galaxy", "galaxy and deconvolved field"),
        ("montage", "frames from best to worst seeing"),
    )
)
TARGET_PICTURES = tuple(
    Product(f"{T}/pictures/{name}_{{target}}.png", doc)
    for name, doc in (
        ("frames", "light curve by frame"),
        ("nights", "light curve by night"),
        ("colours", "light curve by frame, coloured by seeing"),
        ("errors", "the six errors"),
    )
)


_Outputs = tuple[Product, ...]
_Inputs = tuple[Product | str, ...]


def _stage(name: str, per: Per, outputs: _Outputs, inputs: _Inputs, **more: Any) -> Stage:
    paths = tuple(i if isinstance(i, str) else i.path for i in inputs)
    values: dict[str, Any] = {"category": "target"}
    if name in VERSIONS:
        values["versions"] = {name: VERSIONS[name]}
        values["function"] = f"visql_lib.pipelines.lightcurves.stages.{name}:run"
    return Stage(name, per, outputs, inputs=paths, **(values | more))


def _of_set(name: str, outputs: _Outputs, inputs: _Inputs, **more: Any) -> Stage:
    return _stage(name, Per.GROUP, outputs, inputs, **more)


def _of_night(name: str, output: Product, inputs: _Inputs, **more: Any) -> Stage:
    """Make a stage with a job for each night of a set."""
    values = {"each": True, "log": f"{name}/{{group}}/{{output}}", "category": "frames"}
    return _stage(name, Per.GROUP, (output,), inputs, **(values | more))


def _of_target(name: str, outputs: _Outputs, inputs: _Inputs, **more: Any) -> Stage:
    """Make a stage with a job for each target, whose name is the second part of its paths."""
    return _stage(name, Per.ALL, outputs, inputs, each=True, log=f"{name}/{{parts[1]}}", **more)


def _lost(name: str, outputs: _Outputs, inputs: _Inputs, command: str) -> Stage:
    """Make a stage of single frames: what was lost since the job of its night was done."""
    stage = f"{name}_lost"
    return _stage(
        stage,
        Per.FRAME,
        outputs,
        inputs,
        versions={name: VERSIONS[name]},
        program=name.replace("_", "-"),
        command=command,
        settings=SETTINGS[name],
        applies=_is_made(stage),
        category="frames",
    )


def _is_made(stage: str) -> Callable[[Any, Any], bool]:
    return lambda plan, row: bool(plan.has_frame(stage, row))


# Sections of the settings that count for a stage.
SETTINGS: dict[str, tuple[str, ...]] = {
    "lc_frame": ("sky",),
    "lc_measure": ("sky", "alignment", "apertures"),
    "lc_psf": ("psf",),
}

STAGES = (
    _of_night("lc_frame", C_FRAME, ("raw",), settings=SETTINGS["lc_frame"]),
    _lost("lc_frame", (CAT, SKY), ("raw", C_FRAME), "visql lc-frame {raw} -o {folder} {target}"),
    _of_set("lc_frames", (FRAMES,), (C_FRAME,), category="frames"),
    _of_night(
        "lc_defringe",
        FRINGES,
        (C_FRAME, CAT, SKY),
        settings=("defringe", "sky"),
        applies=lambda plan, group: plan.settings.defringe.on,
    ),
    _of_target(
        "lc_reference",
        (REFERENCE,),
        (FRAMES, CAT),
        settings=("sky", "alignment", "apertures", "stars"),
        counted={
            "sky": ("threshold",),
            "apertures": ("empty_box",),
            "stars": (),  # of a reference that stands the stars are kept, see lc_stars
        },
    ),
    _of_night(
        "lc_measure",
        C_MEASURE,
        (C_FRAME, FRAMES, REFERENCE, FRINGES, CAT, SKY),
        settings=SETTINGS["lc_measure"],
    ),
    _lost(
        "lc_measure",
        (APERTURES_OF, STAMPS),
        ("raw", C_MEASURE, REFERENCE, CAT, SKY),
        "visql lc-measure {raw} -o {folder} --reference {reference} {target}",
    ),
    _of_set("lc_apertures", (APERTURES, TRANSFORMS), (C_MEASURE, FRAMES, APERTURES_OF), category="frames"),
    _of_set("lc_stars", (STARS,), (FRAMES, TRANSFORMS, APERTURES, REFERENCE), settings=("stars",)),
    _of_set(
        "lc_medcoeff", (MEDCOEFF,), (FRAMES, TRANSFORMS, APERTURES, STARS, REFERENCE), settings=("medcoeff",)
    ),
    _of_set(
        "lc_stack",
        STACK,
        (FRAMES, TRANSFORMS, MEDCOEFF, STARS, REFERENCE, SKY),
        settings=("deep", "sky", "nights"),
    ),
    _of_set("lc_psf_model", (PSF_MODEL,), (FRAMES, TRANSFORMS, STARS, STAMPS), settings=("psf",)),
    _of_night("lc_psf", C_PSF, (C_MEASURE, FRAMES, STARS, PSF_MODEL, STAMPS), settings=SETTINGS["lc_psf"]),
    _lost(
        "lc_psf",
        (PSF_OF,),
        (STAMPS, STARS, PSF_MODEL, C_PSF),
        "visql lc-psf {stem}_stamps.fits -o {folder} --stars {stars} --model {model} {target}",
    ),
    _of_set(
        "lc_renorm",
        (RENORM, PSF, STAR_FLUXES),
        (C_PSF, FRAMES, STARS, REFERENCE),
        settings=("renorm",),
    ),
    _of_set(
        "lc_scene",
        (SCENE,),
        (FRAMES, TRANSFORMS, PSF, RENORM, REFERENCE, STAMPS, PSF_OF),
        settings=("scene",),
    ),
    _of_set(
        "lc_target",
        TARGET,
        (FRAMES, TRANSFORMS, PSF, RENORM, SCENE, REFERENCE, STAMPS, PSF_OF),
        settings=("scene",),
    ),
    _of_set(
        "lc_nights",
        (FLUXES, NIGHTS),
        (FRAMES, TRANSFORMS, APERTURES, STARS, MEDCOEFF, PSF, RENORM, TARGET[0]),
        settings=("nights", "export"),
    ),
    _of_target(
        "lc_export",
        CURVE,
        (FRAMES, TRANSFORMS, STARS, RENORM, FLUXES, NIGHTS, REFERENCE),
        settings=("nights", "export"),
    ),
    _of_set(
        "lc_pictures",
        SET_PICTURES,
        (FRAMES, TRANSFORMS, STARS, MEDCOEFF, PSF, STAR_FLUXES, RENORM, *TARGET, FLUXES),
        settings=("pictures",),
    ),
    _of_target(
        "lc_target_pictures",
        TARGET_PICTURES,
        (FLUXES, NIGHTS),
        versions={"lc_pictures": VERSIONS["lc_pictures"]},
        program="lc-pictures",
        settings=("pictures",),
    ),
    _of_night(
        "lc_looks",
        Product(f"{S}/chunks/{{night}}_looks.tsv", "list of the pictures of a night's frames"),
        (C_PSF, TARGET[0]),
        part="looks",
        versions={"lc_pictures": VERSIONS["lc_pictures"]},
        program="lc-pictures",
        settings=("pictures",),
    ),
    Stage(
        "lc_look",
        Per.FRAME,
        LOOKS,
        {"lc_pictures": VERSIONS["lc_pictures"]},
        inputs=(STAMPS.path, PSF_OF.path),
        program="lc-pictures",
        command="visql lc-pictures frame {stem}_stamps.fits -o {folder}",
        settings=("pictures",),
        applies=_is_made("lc_psf_lost"),
        part="look",
        category="frames",
    ),
    qc_stage(SETS, QUANTITIES, "acquisition"),
)


def _values(frame: Any) -> dict[str, Any]:
    """Return the words of the commands of a frame."""
    from visql_lib.pipelines.lightcurves.configured import target_path

    stem = Path(frame.stem)
    own = stem.parents[2]  # of the set
    return {
        "raw": frame.row.file,
        "stem": frame.stem,
        "folder": stem.parents[1].as_posix(),
        "target": ["--target", target_path(frame.settings, own.parent.name), "--set", own.name],
        "reference": (own.parent / "reference.parquet").as_posix(),
        "stars": (own / f"stars_{own.name}.parquet").as_posix(),
        "model": (own / f"psfmodel_{own.name}.parquet").as_posix(),
    }


REGISTRY = Registry(
    pipeline="lightcurves",
    grouping=SETS,
    stages=(*STAGES, *site_stages()),
    quantities=QUANTITIES,
    default_target="lightcurve",
    targets={"lightcurve_looks": ("lc_looks",)},
    values=_values,
    sections=(_LOOK, "Tables"),
    plan="visql_lib.pipelines.lightcurves.plan:LightCurvePlan",
    pages="visql_lib.pipelines.lightcurves.pages.pages:LightCurvePages",
    states=FRAMES.path,
    frame_column="FRAME",
    failed=(LightStatus.FAILED, LightStatus.UNUSABLE),
    advice="Mend the files or the camera's file (visql lc-check FRAME --camera NAME), or name the frames in "
    "the target's kick list.",
    beside=(
        Product(SHEET, "exposure sheet of a set"),
        Product(f"{T}/{{target}}_{{set}}.rdb", "light curve of a set by night, written by lc_export"),
        Product(f"{T}/{{target}}_{{set}}.ecsv", "the same, as text"),
        Product("up_to_date/", "cache of exposures that are up to date"),
        Product("logs/", "one log per job"),
        Product("benchmarks/", "time and memory of each job"),
        Product("config/", "settings given to the command of each rule"),
    ),
)
