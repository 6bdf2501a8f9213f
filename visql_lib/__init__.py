"""VISQL: raw frames of an imaging instrument in, quality numbers, pictures and trends out."""

__version__ = "0.1.0"
