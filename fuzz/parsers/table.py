"""All harnesses by their names."""

from collections.abc import Callable, Mapping
from typing import Final

from fuzz.parsers import messages, values

TARGETS: Final[Mapping[str, Callable[[bytes], object]]] = {
    "request": messages.request,
    "response": messages.response,
    "chunked": messages.chunked,
    "trailers": messages.trailers,
    "target": values.target,
    "switching": values.switching,
    "routing": values.routing,
    "length": values.length,
    "configured": values.configured,
}
