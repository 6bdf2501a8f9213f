"""Stages that make tables of months from tables of exposures."""
