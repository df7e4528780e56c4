"""The one exception of this room."""


class IsolationError(Exception):
    """A workspace cannot be isolated or entered; the text has the reason and the remedy."""
