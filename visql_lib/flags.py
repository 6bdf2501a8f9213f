"""The registry of named bit flags.

Every flag column of every table is one of these classes; the documentation's
table of flags (``docs/flags.md``) is made from them.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Self


class NamedFlag(IntFlag):
    """A bit with a one-line meaning, kept in ``doc``."""

    doc: str

    def __new__(cls, value: int, doc: str = "") -> Self:
        """Make a bit of `value`, meaning `doc`."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member


class SourceFlag(NamedFlag):
    """FLAGS of the source catalogue: the bits of SExtractor."""

    NEIGHBOURS = 1, "more than a tenth of the Kron aperture belongs to other detections"
    BLENDED = 2, "was blended with another detection"
    SATURATED = 4, "at least one pixel at or above the saturation level"
    TRUNCATED = 8, "touches the edge of the image area"
    APERTURE_INCOMPLETE = 16, "the Kron aperture reaches outside the image area"
    ISOPHOTE_INCOMPLETE = 32, "isophotal data incomplete"
    DEBLEND_OVERFLOW = 64, "deblending ran out of memory; measured as one object"
    EXTRACT_OVERFLOW = 128, "extraction ran out of memory"


class QuadrantFlag(NamedFlag):
    """FLAGS of the table of quadrants: what happened to one quadrant of a frame."""

    CONSTANT = 2, "all pixels have one value; nothing was detected"
    OVERFLOW = 4, "too many pixels above the threshold; nothing was detected"
    NO_OVERSCAN = 8, "bias level and noise could not be measured"


class MomentFlag(NamedFlag):
    """FLAGS of the moments table; a flagged star's moments are NaN."""

    NO_FLUX = 1, "no positive weighted flux"
    LOST_CENTRE = 2, "the centroid wandered off the star"


class SelectionFlag(NamedFlag):
    """Flags of the star selection of one exposure, in the metadata of its table."""

    NO_STARS = 1, "no star was found"
    FEW_STARS = 2, "fewer stars than the configured minimum"
    NO_DETECTIONS = 4, "the catalogue is empty"


class ExposureFlag(NamedFlag):
    """FLAGS of the monthly quality table: why an exposure's numbers are missing or doubtful."""

    NO_STARS = 1, "no star with valid moments"
    FEW_STARS = 2, "fewer stars than the limits in force ask for"
    FAILED = 4, "a step failed on this exposure; REASON says which and why"
    IMPORTED = 8, "medians imported from text tables of the original system"
    INCOMPLETE = 16, "quadrants are missing from the raw frame"


REGISTRY: tuple[type[NamedFlag], ...] = (
    SourceFlag,
    QuadrantFlag,
    MomentFlag,
    SelectionFlag,
    ExposureFlag,
)


def markdown() -> str:
    """Return the documentation's page of flags."""
    lines = ["# Flags", "", "<!-- made by `visql schema`; do not edit -->", ""]
    for flag in REGISTRY:
        doc = (flag.__doc__ or "").strip()
        lines += [f"## {flag.__name__}", "", doc, "", "| bit | name | meaning |", "|---|---|---|"]
        lines += [f"| {m.value} | `{m.name}` | {m.doc} |" for m in flag]
        lines.append("")
    return "\n".join(lines)
