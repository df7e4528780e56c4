"""Field blocks as hpack reads them."""

from hpack import Decoder


def decoded(*blocks: bytes) -> list[list[tuple[str, str]]]:
    """Return the fields of the blocks of one connection."""
    decoder = Decoder(max_header_list_size=2**30)
    return [[(str(name), str(value)) for name, value in decoder.decode(one)] for one in blocks]
