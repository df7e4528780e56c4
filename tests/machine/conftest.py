"""A registry for each test; commands enter namespaces with two sets of privileges."""

from tests.helpers.workspaces import prefix, registry

__all__ = ["registry", "prefix"]
