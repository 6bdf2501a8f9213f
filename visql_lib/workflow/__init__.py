"""What a run of the workflow needs besides its plan: the lock on the results, targets, verification."""
