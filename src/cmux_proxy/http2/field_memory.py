"""The fields in the tables of clients, shared by all connections of a worker.

Browsers send the same fields on each of their connections, so that most tables have the same
entries: each is there once. Does not know tables: `hpack_decoder.py` has one for each connection.
"""

from typing import Final

from cmux_proxy.http2.header_field import COOKIE, HeaderField

MAX_FIELDS: Final = 1024
MAX_FIELD_SIZE: Final = 512


class FieldMemory:
    """At most MAX_FIELDS fields of at most MAX_FIELD_SIZE bytes; no cookies."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        # By name and value, with a byte between them that no valid name has.
        self.fields: dict[bytes, HeaderField] = {}

    def share(self, field: HeaderField) -> HeaderField:
        """Return the field of another connection that is the same, or this one."""
        if field.size > MAX_FIELD_SIZE or field.kind == COOKIE or len(field.rule) > 0:
            return field
        key = field.name + b" " + field.value
        shared = self.fields.get(key)
        if shared is not None:
            return shared
        if len(self.fields) >= MAX_FIELDS:
            self.fields.clear()
        self.fields[key] = field
        return field
