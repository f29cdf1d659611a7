"""Who serves a call: in which order, past which faults, how many at once."""
