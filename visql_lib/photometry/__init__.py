"""Fluxes against the reference: colour relations, ratios, their gathering, their trend."""
