"""The pages of the pipeline `pointing`."""
