"""Builds the files of a release reproducibly, and checks whether a version may be released."""
