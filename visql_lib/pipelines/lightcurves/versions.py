"""The versions of the stages: raised whenever the same inputs give other results."""

from __future__ import annotations

VERSIONS = {
    "lc_frame": 1,
    "lc_frames": 1,
    "lc_defringe": 1,
    "lc_reference": 1,
    "lc_measure": 1,
    "lc_apertures": 1,
    "lc_stars": 1,
    "lc_medcoeff": 1,
    "lc_stack": 1,
    "lc_psf_model": 1,
    "lc_psf": 1,
    "lc_renorm": 1,
    "lc_scene": 1,
    "lc_target": 1,
    "lc_nights": 3,
    "lc_export": 1,
    "lc_pictures": 1,
}
