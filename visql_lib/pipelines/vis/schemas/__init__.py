"""The columns of the tables of VIS."""
