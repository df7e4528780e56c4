"""The Expect field of a request (RFC 9110 section 10.1.1).

Does not know how a 100 response is forwarded; `relay/response.py` does that.
"""

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import RequestHead


def add_expectations(expect: bytes | None, value: bytes) -> bytes | None:
    """Return the expectations of all Expect lines: those in `expect`, then those in `value`.

    `value` is a list (RFC 9110 section 10.1.1); a member that repeats the first one is left out.
    Returns None if there is no member at all.
    """
    members = [] if expect is None else [expect]
    for item in value.split(b","):
        member = item.strip(b" \t")
        if member and (not members or member.lower() != members[0].lower()):
            members.append(member)
    return b", ".join(members) if members else None


def check_expectation(head: RequestHead) -> None:
    """Raise BadMessage for an Expect other than 100-continue (RFC 9110 section 10.1.1)."""
    expect = head.expect
    if head.minor and expect is not None and expect.lower() != b"100-continue":
        raise BadMessage("only the expectation 100-continue is supported", 417)
