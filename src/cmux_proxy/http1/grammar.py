"""Byte classes and compiled patterns of RFC 9110 and RFC 9112, each under its section.

Knows grammar only: no limits, no meaning of any field. Nothing backtracks, so that a pattern is
linear on hostile input: a repeated byte class is possessive, a repeated group stands in an atomic
one, since a possessive repeat of a group goes wrong in CPython 3.11.2 where an iteration fails
halfway. No capture group stands inside a repeat, because CPython 3.11.7, 3.12.1 and 3.13.0 report
wrong spans there. Neighbours: `fields.py`, `scan.py` and `body.py` use the patterns.
"""

import re
from typing import Final

# RFC 9110 section 5.6.2: token = 1*tchar
TCHAR: Final = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
TOKEN: Final = rb"[" + TCHAR + rb"]++"

# RFC 9110 section 5.5: field values are visible bytes, SP, HTAB and obs-text; nothing else.
FIELD_BYTE: Final = rb"[\t\x20-\x7e\x80-\xff]"

# RFC 9112 section 5: no white space before the colon, no obs-fold, CRLF and nothing else.
FIELD_LINE: Final = TOKEN + rb":" + FIELD_BYTE + rb"*+\r\n"
# The same without its CRLF; the groups are name and value, which may end in white space still.
FIELD: Final = rb"(" + TOKEN + rb"):[ \t]*+(" + FIELD_BYTE + rb"*+)"

# RFC 9112 section 3. The target is kept byte for byte; we are stricter than many in refusing
# bytes above 0x7E, and a fragment is never part of a request target (RFC 9110 section 7.1).
TARGET: Final = rb"[\x21\x22\x24-\x7e]++"
REQUEST_LINE: Final = rb"(" + TOKEN + rb") (" + TARGET + rb") HTTP/1\.([01])\r\n"

# RFC 9112 section 4. The blank stands there also where there is no reason phrase.
STATUS_LINE: Final = rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) " + FIELD_BYTE + rb"*+\r\n"
# What services send as one, without its line end: any version of HTTP/1 (RFC 9110 section 2.5),
# and no blank where there is no reason phrase. The groups are version, status and reason phrase.
ANY_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: (" + FIELD_BYTE + rb"*+))?"
)

# RFC 9110 section 7.2 and RFC 3986 section 3.2.2, without userinfo. We are stricter in
# refusing "," in a reg-name: a list of hosts is two hosts to a lenient reader.
_REG_NAME: Final = rb"(?>(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+)"
_IP_LITERAL: Final = rb"\[(?:[0-9A-Fa-f:.]++|[vV][0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+;=:]++)\]"
HOST: Final = re.compile(rb"(?:" + _IP_LITERAL + rb"|" + _REG_NAME + rb")(?::[0-9]{0,5})?")

# RFC 9110 section 9.3.6: the target of CONNECT is host and port, both present.
AUTHORITY: Final = re.compile(rb"(?:" + _IP_LITERAL + rb"|" + _REG_NAME + rb"):[0-9]{1,5}")

# RFC 9112 section 3.2.2, only the scheme a plain-text proxy can carry.
ABSOLUTE_TARGET: Final = re.compile(rb"(?i:http)://([^/?]*+)(.*+)", re.DOTALL)

# RFC 9110 section 8.6: 1*DIGIT, capped where a 64-bit reader could overflow.
CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

TOKEN_ONLY: Final = re.compile(TOKEN)
# One valid field line; group 1 is the field name.
NAMED_FIELD_LINE: Final = re.compile(rb"([" + TCHAR + rb"]++):" + FIELD_BYTE + rb"*+\r\n")

# RFC 9110 section 7.8: protocol = protocol-name ["/" protocol-version]
UPGRADE_PROTOCOL: Final = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?")

# RFC 9112 section 7.1. Stricter: no white space ("BWS") around the extension's parts, and at
# most 15 digits, so that no reader's 64-bit integer overflows.
_QUOTED: Final = rb'"(?>(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*)"'
_CHUNK_EXT: Final = rb"(?>(?:;" + TOKEN + rb"(?:=(?:" + TOKEN + rb"|" + _QUOTED + rb"))?)*)"
CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:\r\n|(?=;)" + _CHUNK_EXT + rb"\r\n)")
# What the beginning of such a line may look like while the rest is still under way.
CHUNK_LINE_START: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,15}+(?:;" + FIELD_BYTE + rb"*+)?\r?)?")
# The same in responses: blanks behind the size, white space around ";" and "=" (RFC 9110 section
# 5.6.3), any number of digits.
_ANY_CHUNK_EXT: Final = (
    rb"(?>(?:[ \t]*+;[ \t]*+"
    + TOKEN
    + rb"(?:[ \t]*+=[ \t]*+(?:"
    + TOKEN
    + rb"|"
    + _QUOTED
    + rb"))?)*)"
)
ANY_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]++)(?:[ \t]*+\r\n|(?=[ \t]*+;)" + _ANY_CHUNK_EXT + rb"\r\n)"
)
ANY_CHUNK_LINE_START: Final = re.compile(
    rb"(?:[0-9A-Fa-f]++[ \t]*+(?:;" + FIELD_BYTE + rb"*+)?\r?)?"
)

BLANK_LINE: Final = b"\r\n\r\n"
EMPTY_LINES: Final = re.compile(rb"(?>(?:\r\n)*)")
# RFC 9112 section 2.2: a LF without its CR, or a CR without its LF, ends nothing.
BARE_LF: Final = re.compile(rb"(?<!\r)\n")

# RFC 9110 section 5.6.4. One that is not closed extends to the end of the value, so that searching
# for all of them is linear.
QUOTED_STRING: Final = re.compile(rb'"(?>(?:[^"\\]|\\.)*)["\\]?', re.DOTALL)
