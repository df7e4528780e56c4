"""Fuzzing: the parsers with any bytes, guided by coverage, and a running proxy with any events."""
