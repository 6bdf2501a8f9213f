"""A pipeline of another package: the level of every frame of a camera, by nights."""
