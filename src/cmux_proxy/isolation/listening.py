"""Which TCP ports are listened on in the network namespace of this process."""

from typing import Final

_TABLES: Final = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_LISTENS: Final = "0A"
_ADDRESS_COLUMN: Final = 1
_STATE_COLUMN: Final = 3


def listening_ports() -> list[int]:
    """Return the ports, each once and in order."""
    ports: set[int] = set()
    for path in _TABLES:
        try:
            with open(path, encoding="ascii") as table:
                ports.update(_listening(table.readlines()[1:]))
        except FileNotFoundError:
            pass  # there is no IPv6
    return sorted(ports)


def _listening(lines: list[str]) -> list[int]:
    rows = [line.split() for line in lines]
    # The kernel writes address and port in hexadecimal, as in 0100007F:0BB8.
    return [
        int(row[_ADDRESS_COLUMN].rpartition(":")[2], 16)
        for row in rows
        if row[_STATE_COLUMN] == _LISTENS
    ]
