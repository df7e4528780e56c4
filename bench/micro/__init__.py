"""Times single steps of the hot path, to compare two versions of the code."""
