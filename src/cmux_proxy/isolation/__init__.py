"""Isolated workspaces: a network namespace each, kept alive by a holder process."""
