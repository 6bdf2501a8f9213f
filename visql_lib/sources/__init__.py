"""Background, detection and measurement of the sources of one image."""

from visql_lib.sources.detect import Detections, detect_sources

__all__ = ["Detections", "detect_sources"]
