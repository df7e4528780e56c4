"""Isolated workspaces: a network namespace each, which a keeper holds and a registry knows."""
