"""Pictures of VIS: tables in, a figure out."""
