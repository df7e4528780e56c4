"""The limits of a head, in bytes and lines, and the statuses of what exceeds them.

Does not know the configuration: the limits are integers. Neighbours: `scan.py` and `fields.py`
check them.
"""

from cmux_proxy.http1.errors import BadMessage


class HeadLimits:
    """The limits of a head: bytes of the start line, bytes and lines of the header section."""

    __slots__ = ("fields", "section", "start_line")

    def __init__(self, start_line: int, section: int, fields: int) -> None:
        self.start_line = start_line
        self.section = section
        self.fields = fields

    def check_unfinished(self, buffer: bytes) -> None:
        """Raise BadMessage if a head that may not have ended already exceeds a limit."""
        line_end = buffer.find(b"\n") + 1
        self.check_start_line(line_end or len(buffer))
        if line_end and len(buffer) - line_end > self.section:
            raise BadMessage("the header section is too large", 431)

    def check_start_line(self, size: int) -> None:
        """Raise BadMessage if a start line of `size` bytes is too long."""
        if size > self.start_line:
            raise BadMessage("the start line is too long", 414)

    def check_section(self, section: bytes) -> None:
        """Raise BadMessage if a header section is too large or has too many lines."""
        size = len(section)
        if size > self.section:
            raise BadMessage("the header section is too large", 431)
        # The shortest field line has four bytes, so most sections need no counting.
        if size > self.fields * 4 and section.count(b"\n") - 1 > self.fields:
            raise BadMessage("there are too many header fields", 431)
