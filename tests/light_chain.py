"""All stages of a light curve by their commands, in this process: a set is one chunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner

from visql_lib.cli import cli

_TABLES = "frames", "transforms", "apertures", "stars", "medcoeff", "psf", "renorm", "target"


def visql(*words: object) -> str:
    """Run a command; it must succeed."""
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def light_curve(folder: Path, raws: Sequence[Path], target: Path, name: str, config: Path) -> Path:
    """Make the light curve of one set.

    Parameters
    ----------
    folder : Path
        Where the target's products go.
    raws : sequence of Path
    target : Path
        Its file.
    name : str
        The set.
    config : Path

    Returns
    -------
    Path
        The .rdb of the target.
    """
    of_set = folder / name
    of_set.mkdir(parents=True)
    frames, reference = of_set / "frames", folder / "reference.parquet"
    table = {kind: of_set / f"{kind}_{name}.parquet" for kind in (*_TABLES, "starfluxes", "fluxes", "nights")}
    chunk = {kind: of_set / f"chunk_{kind}.parquet" for kind in ("frame", "measure", "psf")}
    model, scene = of_set / f"psfmodel_{name}.parquet", of_set / f"scene_{name}.fits"
    whose = ("--target", target, "--set", name, "--config", config)
    common = ("--config", config)

    def some(*kinds: str) -> list[Path]:
        return [table[kind] for kind in kinds]

    visql("lc-frame", *raws, "-o", frames, "--table", chunk["frame"], "--record-failure", *whose)
    visql("lc-frames", chunk["frame"], "-o", table["frames"], "--target", target, *common)
    visql("lc-reference", table["frames"], "-o", reference, "--target", target, *common)
    placed = ("--reference", reference)
    kept = ("--frames", table["frames"])
    visql("lc-measure", chunk["frame"], "-o", frames, *placed, *kept, "--table", chunk["measure"], *whose)
    joined = ("--transforms", table["transforms"])
    visql("lc-apertures", chunk["measure"], "-o", table["apertures"], *joined, *kept, *common)
    visql("lc-stars", *some(*_TABLES[:3]), "-o", table["stars"], *placed, *whose)
    visql("lc-medcoeff", *some(*_TABLES[:4]), "-o", table["medcoeff"], *placed, "--set", name, *common)
    visql("lc-psf-model", *some("frames", "transforms", "stars"), "-o", model, *whose)
    chosen = ("--stars", table["stars"], "--model", model)
    visql("lc-psf", chunk["measure"], "-o", frames, *chosen, "--table", chunk["psf"], *whose)
    made = ("-o", table["renorm"], "--psf", table["psf"], "--fluxes", table["starfluxes"])
    visql(
        *("lc-renorm", chunk["psf"], *kept, "--stars", table["stars"], *placed, "--set", name),
        *(*made, *common),
    )
    fitted = some("frames", "transforms", "psf", "renorm")
    visql("lc-scene", *fitted, reference, "-o", scene, *whose)
    image = ("--image", of_set / f"target_{name}.fits")
    visql("lc-target", *fitted, reference, "--scene", scene, "-o", table["target"], *image, *whose)
    visql("lc-nights", *some(*_TABLES), "-o", table["fluxes"], "--nights", table["nights"], *common)
    visql("lc-export", of_set, "-o", folder / f"{folder.name}.parquet", "--target", target, *common)
    return folder / f"{folder.name}.rdb"
