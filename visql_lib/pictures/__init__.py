"""Pictures drawn from tables; no command, no raw frame."""
