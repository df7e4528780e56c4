"""The one exception of this room."""


class IsolationError(Exception):
    """A workspace cannot be isolated, or not be entered; the text says why, and what helps."""
