"""Products of a pipeline: the registry of its stages and products, and everything derived from it."""

from visql_lib.products.registry import Drawing, Per, Product, Registry, Stage

__all__ = ["Drawing", "Per", "Product", "Registry", "Stage"]
