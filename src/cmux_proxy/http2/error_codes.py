"""The error codes of RST_STREAM and GOAWAY frames (RFC 9113 section 7)."""

from typing import Final

NO_ERROR: Final = 0x00
PROTOCOL_ERROR: Final = 0x01
INTERNAL_ERROR: Final = 0x02
FLOW_CONTROL_ERROR: Final = 0x03
SETTINGS_TIMEOUT: Final = 0x04
STREAM_CLOSED: Final = 0x05
FRAME_SIZE_ERROR: Final = 0x06
REFUSED_STREAM: Final = 0x07
CANCEL: Final = 0x08
COMPRESSION_ERROR: Final = 0x09
CONNECT_ERROR: Final = 0x0A
ENHANCE_YOUR_CALM: Final = 0x0B
INADEQUATE_SECURITY: Final = 0x0C
HTTP_1_1_REQUIRED: Final = 0x0D

_NAMES: Final = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
    "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
    "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip


def error_name(code: int) -> str:
    """Return the name of a code for logs and metrics; OTHER for those without a meaning."""
    return _NAMES[code] if 0 <= code < len(_NAMES) else "OTHER"
