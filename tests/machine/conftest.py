"""A registry of its own for each test; commands get into namespaces in two ways."""

from tests.helpers.workspaces import registry, way

__all__ = ["registry", "way"]
