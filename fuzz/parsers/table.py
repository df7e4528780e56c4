"""All harnesses by name."""

from collections.abc import Callable, Mapping
from typing import Final

from fuzz.parsers import bodies, http2, messages, values

TARGETS: Final[Mapping[str, Callable[[bytes], object]]] = {
    "request": messages.request,
    "response": messages.response,
    "chunked": bodies.chunked,
    "response-chunked": bodies.response_chunked,
    "trailers": bodies.trailers,
    "target": values.target,
    "switching": values.switching,
    "routing": values.routing,
    "length": values.length,
    "configured": values.configured,
    "http2": http2.connection,
    "http2-block": http2.block,
    "http2-fields": http2.fields,
}
