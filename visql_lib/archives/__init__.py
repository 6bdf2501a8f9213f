"""Clients of the outside world: they fetch; what the data mean is for others."""
