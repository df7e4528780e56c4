"""The faults of frames that end the connection (RFC 9113 sections 4.2 and 5.4.1)."""

from cmux_proxy.http2.error_codes import FRAME_SIZE_ERROR, PROTOCOL_ERROR
from cmux_proxy.http2.errors import ConnectionFault


def frame_fault(rule: str) -> ConnectionFault:
    """Return the fault of a frame that may not come like this."""
    return ConnectionFault(PROTOCOL_ERROR, rule)


def size_fault(rule: str) -> ConnectionFault:
    """Return the fault of a frame whose size is wrong (section 4.2)."""
    return ConnectionFault(FRAME_SIZE_ERROR, rule)
