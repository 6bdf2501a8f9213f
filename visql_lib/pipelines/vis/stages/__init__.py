"""The stages of VIS: what is made of a frame, of a month and of all months."""
