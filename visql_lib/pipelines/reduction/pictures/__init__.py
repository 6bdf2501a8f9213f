"""Pictures of the reduction: tables and masters in, a Figure out."""
