"""Errors that no caller can catch, which the interpreter prints with a traceback.

A TLS client may ask for a server name with bytes that are not ASCII. `ssl` decodes it before the
callback that chooses a certificate, and the error ends the handshake, which is logged: a traceback
would be what a peer did. For processes of our own only, since the hook is that of the process.
"""

import sys


def hide_errors_of_peers() -> None:
    """Print no traceback for server names of TLS clients that cannot be decoded."""
    sys.unraisablehook = _report


def _report(error: "sys.UnraisableHookArgs") -> None:
    # The name is the object with which the error is reported.
    if isinstance(error.exc_value, UnicodeDecodeError) and isinstance(error.object, bytes):
        return
    sys.__unraisablehook__(error)
