"""The pictures of the pipeline `pointing`."""
