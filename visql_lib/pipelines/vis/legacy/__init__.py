"""Text tables of the original scripts, both ways."""
