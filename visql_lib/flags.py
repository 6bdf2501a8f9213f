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

    NEIGHBOURS = 1, "more than a tenth of the Kron aperture belongs to other detections, or is masked"
    BLENDED = 2, "blended with another detection"
    SATURATED = 4, "at least one pixel at or above the saturation level"
    TRUNCATED = 8, "touches the edge of the image area"
    APERTURE_INCOMPLETE = 16, "the Kron aperture reaches outside the image area, or over masked pixels"
    ISOPHOTE_INCOMPLETE = 32, "masked pixels beside those above the threshold: isophotal data incomplete"
    DEBLEND_OVERFLOW = 64, "deblending ran out of memory; measured as one object"
    EXTRACT_OVERFLOW = 128, "extraction ran out of memory"


class QuadrantFlag(NamedFlag):
    """FLAGS of the table of quadrants: problems of one quadrant of a frame."""

    CONSTANT = 2, "all pixels have the same value; nothing was detected"
    OVERFLOW = 4, "too many pixels above the threshold; nothing was detected"
    NO_OVERSCAN = 8, "bias level and noise could not be measured"
    HOT_LINE = 16, "a DARK or BIAS with a hot column or row"
    MANY_CANDIDATES = 32, "a DARK with too many candidates for hot pixels; the faintest are not listed"
    NO_INJECTION = 64, "a CHARGE frame without injected lines, or without space behind them for a trail"
    SATURATED = 128, "a FLAT whose median pixel is saturated"
    CHECKSUM = 256, "the data do not match DATASUM: they were changed or damaged"
    DEAD = (
        512,
        "rows or columns whose pixels all have the same value; levels and noise are not reliable",
    )


class MomentFlag(NamedFlag):
    """FLAGS of the moments table; a flagged star's moments are NaN."""

    NO_FLUX = 1, "no positive weighted flux"
    LOST_CENTRE = 2, "the centre moved too far from the star"


class PixelFlag(NamedFlag):
    """MASK of an image: why a pixel is not used."""

    NOT_FINITE = 1, "no value: NaN or infinite in the frame, or divided by zero"
    SATURATED = 2, "at or above the saturation of the camera"
    HOT = 4, "brighter in darks than its neighbours: hot"
    DEAD = 8, "answers to light far less than its neighbours, or not linearly"
    COLUMN = 16, "in a bad column or row"
    COSMIC = 32, "hit by a cosmic ray"
    REJECTED = 64, "no value of any frame was left to combine"
    OUTSIDE = 128, "outside of all frames"
    BAD_FLAT = 256, "the flat is too low, or too high, there to divide by"
    INPUT = 512, "masked by the user"
    NOISY = 1024, "its values scatter far more than those of other pixels"


class SelectionFlag(NamedFlag):
    """Flags of the star selection of one exposure, in the metadata of its table."""

    NO_STARS = 1, "no star was found"
    FEW_STARS = 2, "fewer stars than the configured minimum"
    NO_DETECTIONS = 4, "the catalogue is empty"


class ExposureFlag(NamedFlag):
    """FLAGS of the monthly quality table and of the exposure sheet: why values are missing or doubtful."""

    NO_STARS = 1, "no star with valid moments"
    FEW_STARS = 2, "fewer stars than required by the limits of that date"
    FAILED = 4, "a step failed on this exposure; see REASON"
    IMPORTED = 8, "medians imported from text tables of the original scripts"
    INCOMPLETE = 16, "quadrants are missing from the raw frame"
    DATE_FAR_FROM_NAME = 32, "DATE-OBS is used, but is far from the time in the file name"
    DATE_FROM_NAME = 64, "DATE-OBS is missing or impossible; the time in the file name is used"
    NO_EXPTIME = 128, "the exposure time is missing or impossible"
    NO_ANGLE = 256, "an angle in the header is impossible and not used; see the exposure sheet"
    CARDS = 512, "header cards that cannot be read or contradict each other; see the exposure sheet"
    FILE = 1024, "the file is unusual, but can be read; see the exposure sheet"


class SolutionFlag(NamedFlag):
    """FLAGS of an astrometric solution, and of each CCD in it."""

    NO_REFERENCE = 1, "no reference star in the field"
    NO_STARS = 2, "the exposure has no star"
    FEW_MATCHES = 4, "fewer matched stars than the configured minimum; no solution"
    NOT_FOUND = 8, "stars and reference do not match anywhere near the boresight"
    BORESIGHT_WRONG = 16, "the boresight of the header was off by more than 10 arcsec; found and corrected"
    ROLL_WRONG = 32, "the roll of the header was off by more than 0.1 deg, or missing; found and corrected"
    REFERENCE_FAILED = 64, "the reference stars could not be downloaded; retried by the next run"
    FEW_STARS = 128, "too few stars to fit terms for this CCD"
    NO_PROPER_MOTION = 256, "the reference has no proper motions; positions are for epoch 2016.0"
    NOT_TRIED = 512, "there was nothing to match, or an earlier step failed; see REASON"


class RatioFlag(NamedFlag):
    """FLAGS of flux ratios: of a star, an exposure, or a bin of the table of ratios."""

    NO_COLOUR = 1, "the star has no colour and is not used for the colour relation"
    CLIPPED = 2, "the star was clipped from the colour relation"
    FAINT = 4, "the star is fainter than the limit of the colour relation"
    FEW_STARS = 8, "too few stars for a colour relation"
    NOT_ACCEPTED = 16, "the exposure does not meet the criteria for the trends"
    NO_SOLUTION = 32, "no astrometric solution, so no match"


class RadiationFlag(NamedFlag):
    """FLAGS of the particles of a quadrant or an exposure."""

    NO_TIME = 1, "the exposure time is unknown, so there are no rates"
    NO_DETECTION = 2, "no detection was possible: a constant or overflowing quadrant, or a failed exposure"
    STORM = 4, "a rate of particles exceeds the limits of that date: a particle storm"
    LIT = 8, "part of the detectors is illuminated by X-rays"


class SunFlag(NamedFlag):
    """FLAGS of solar angles and solar X-ray flux."""

    NO_POINTING = 1, "neither header nor plate solution gives the pointing"
    NO_ANGLES = 2, "SAA or ALPHA could neither be read nor computed"
    NO_GOES = 4, "no GOES sample near the exposure: no file, or a gap in it"
    NEAREST = 8, "no good sample during the exposure; GOES_FLUX is the nearest good one"
    PROVISIONAL = 16, "the GOES day is not final yet"


class GuideStarFlag(NamedFlag):
    """FLAGS of a star of a guide camera; a flagged star is in no zero point."""

    EDGE = 1, "its largest aperture reaches over the border of the frame"
    BAD_PIXELS = 2, "a bad pixel within 2.5 px"
    FEW_SKY = 4, "fewer than half of the pixels of its annulus are good"
    SATURATED = 8, "a raw pixel within 2 px of its centre at or above the limit"
    SHIFT = 16, "the centroid moved too far or did not converge; the projected place is used"
    WRONG_SOURCE = 32, "the centroid is nearer to another reference star"
    NO_COLOUR = 64, "no colour or magnitude of the reference star is known"
    NO_PROPER_MOTION = (
        128,
        "no proper motion is known, so measured where it was in 2016.0; this alone leaves none out",
    )
    FAINT = (
        256,
        "by the zero point of its quadrant it gives less than 4 sigma of the sky: under clouds, noise",
    )

    @classmethod
    def left_out(cls) -> int:
        """Return the bits that keep a star out of zero points."""
        return int(sum(cls)) & ~int(cls.NO_PROPER_MOTION)


class GuideFrameFlag(NamedFlag):
    """FLAGS of a frame of a guide camera."""

    DOME = 1, "part of the frame is dark: the dome stands in the way"
    NO_REFERENCE = 2, "no reference stars could be had, so no zero point"
    WCS_OF_HEADER = 4, "no file .wcs beside the frame: the WCS of its own header"
    SIP_NOT_NAMED = 8, "the WCS has SIP coefficients, but no -SIP in CTYPE; they are used"
    SIP_MISSING = 16, "CTYPE of the WCS says -SIP, but there are no coefficients; it is linear"
    NO_TIME = 32, "no date is known: proper motions could not be applied"
    SHIFT_AT_LIMIT = 64, "most centroids are as far off their places as they may be: the WCS points elsewhere"
    ALL_SATURATED = 128, "most pixels are saturated"
    NO_LIGHT = 256, "all pixels have the same value, or none has one"
    TIMED_OUT = 512, "the search for streaks ended at its time limit"
    TRACKING_UNKNOWN = 1024, "whether the telescope tracks could not be asked"
    FEW_STARS = 2048, "a zero point of fewer than ten stars"


class StarFlag(NamedFlag):
    """FLAGS of a star of a light curve in one frame."""

    OUTSIDE = 1, "its aperture or stamp reaches over the border of the frame: not measured"
    BAD_PIXELS = 2, "bad pixels in its aperture, or in much of its core: not measured"
    SATURATED = 4, "a saturated pixel"
    NEIGHBOUR = 8, "a neighbour that adds more than 2 % of its flux"
    COSMIC = 16, "pixels masked as hit by cosmic rays; they have no weight"
    NO_FIT = 32, "the fit did not converge: not measured"


class StampFlag(NamedFlag):
    """BAD of the stamps of a light curve: why a pixel has no weight."""

    BAD = 1, "no value, masked, in a dead line, or outside of the frame"
    COSMIC = 2, "hit by a cosmic ray, or next to a hit"
    SATURATED = 4, "at or above the saturation"
    NEIGHBOUR = 8, "light of another source"


REGISTRY: tuple[type[NamedFlag], ...] = (
    SourceFlag,
    PixelFlag,
    QuadrantFlag,
    MomentFlag,
    SelectionFlag,
    ExposureFlag,
    SolutionFlag,
    RatioFlag,
    RadiationFlag,
    SunFlag,
    GuideStarFlag,
    GuideFrameFlag,
    StarFlag,
    StampFlag,
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
