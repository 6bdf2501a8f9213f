"""FITS images of any camera, with error and mask: lists of files, regions, reading, writing, names."""
