"""Stages of the light curves: each `run` is called with a context and its inputs."""
