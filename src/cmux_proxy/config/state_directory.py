"""Where programs of this user keep what should outlive them (XDG Base Directory Specification)."""

import os
import tempfile


def find_state_directory() -> str | None:
    """Return the directory, which may not exist yet; None for a user without a home directory."""
    parent = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(parent):
        parent = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(parent, "cmux-proxy") if os.path.isabs(parent) else None


def write_private_file(directory: str, data: bytes) -> str:
    """Return the path of a new file in a directory that only this user can read."""
    descriptor, path = tempfile.mkstemp(dir=directory)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return path
