"""Between the focal plane and the sky."""

from visql_lib.sky.geometry import CubicDistortion, FocalPlaneGeometry
from visql_lib.sky.projection import Boresight, deproject, project, propagate

__all__ = ["Boresight", "CubicDistortion", "FocalPlaneGeometry", "deproject", "project", "propagate"]
