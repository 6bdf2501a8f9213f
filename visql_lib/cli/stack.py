"""`visql stack`: registered frames -> one image with error, mask and number of frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option
from visql_lib.cli.files import LIST_HELP, list_argument
from visql_lib.cli.reduction import RECORD_FAILURE, context_of, reduction_step

if TYPE_CHECKING:
    from visql_lib.pipelines.reduction.stages.stack import StackOutputs


@reduction_step(
    "stack",
    f"""Combine registered images.

{LIST_HELP} A table (.parquet) made by `visql reduce` stands for the reduced frames it lists,
which lie beside it.

Each frame is interpolated once (Lanczos-3), scaled by the transparency of the sky, its sky brought to that of
the reference; outliers are rejected by the noise. The result has the pixels and the WCS of the reference,
1 sigma errors in ERR, PixelFlag bits in MASK, and the number of frames in N. Frames that are not
registered are left out.""",
    "visql stack 'frames/m67-R-*.fits' -o m67_R.fits --registration m67_R_registration.parquet",
)
@list_argument()
@output_option("The stack (FITS).")
@click.option("--registration", type=INPUT, required=True, metavar="T", help="Table of `visql register`.")
@click.option("--picture", type=OUTPUT, metavar="P", help="Picture (PNG): stack, reference frame, map of N.")
@click.option("--wcs", type=INPUT, metavar="FILE", help="Onto the WCS of this image, by reproject.")
@RECORD_FAILURE
def command(
    words: tuple[str, ...],
    output: Path,
    registration: Path,
    picture: Path | None,
    wcs: Path | None,
    instrument: str | None,
    record_failure: bool,
    allow_empty: bool,
    config: Path | None,
) -> None:
    """Combine; write image and picture, or why there is none."""
    from visql_lib.images.lists import expand
    from visql_lib.images.masters import write_failed_master
    from visql_lib.images.writing import write_image
    from visql_lib.pipelines.reduction.listed import listed_frames, why_none
    from visql_lib.pipelines.reduction.stages.stack import KIND, StackInputs, run
    from visql_lib.pipelines.reduction.versions import VERSIONS

    context = context_of("stack", config, instrument, record_failure)
    listed = expand(words, allow_empty=allow_empty)
    frames = listed_frames(listed)
    made = run(context, StackInputs(frames, registration, wcs, "" if frames else why_none(listed)))
    versions = {"stack": VERSIONS["stack"]}
    if made.image is None:
        write_failed_master(output, KIND, made.meta["failed"], versions, [registration])
    else:
        write_image(output, made.image, versions)
    if picture is not None:
        _draw(picture, output, made, versions)


def _draw(picture: Path, output: Path, made: StackOutputs, versions: dict[str, int]) -> None:
    """Draw the stack, or why there is none."""
    from visql_lib.images.headers import value_of
    from visql_lib.images.image import read_image
    from visql_lib.pictures.failed import failed_picture
    from visql_lib.pictures.save import save_picture
    from visql_lib.pictures.stack import stack_picture

    if made.image is None or made.reference is None:
        figure = failed_picture(f"{output.stem}: no stack", made.meta["failed"])
    else:
        image, reference = made.image, read_image(made.reference)
        assert image.used is not None
        unit = str(value_of(image.header, "BUNIT") or "adu")
        numbers = {
            key: value_of(image.header, key) for key in ("N_USED", "EXPTIME", "FWHM", "DEPTH", "N_STARS")
        }
        title = ", ".join([*filter(None, made.meta["title"]), f"{numbers['N_USED']} frames"])
        line = f"{output.name}: {numbers['N_STARS']} stars"
        line += f", FWHM {numbers['FWHM']:.2f} px" if numbers["FWHM"] else ""
        line += f", EXPTIME {numbers['EXPTIME']:g} s" if numbers["EXPTIME"] else ""
        line += f", 5-sigma star {numbers['DEPTH']:.4g} {unit}" if numbers["DEPTH"] else ""
        figure = stack_picture(image.data, reference.data, image.used, title, line, unit)
    save_picture(figure, picture, None, versions, [output])
