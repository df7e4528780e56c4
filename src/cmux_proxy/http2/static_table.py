"""The static table of HPACK (RFC 7541 appendix A); the first entry has the index 1."""

from typing import Final

STATIC_SIZE: Final = 61

_LINES: Final = b"""\
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""


def static_entries() -> list[tuple[bytes, bytes]]:
    """Return the names and values, in order."""
    pairs = [line.partition(b" ") for line in _LINES.splitlines()]
    return [(name, value) for name, _blank, value in pairs]
