"""Single steps of the hot path, timed alone; good for comparing two states of the code."""
