"""The stages of the pipeline `pointing`."""
