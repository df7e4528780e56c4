"""Byte classes and compiled patterns of RFC 9110 and RFC 9112, each under its section.

Does not know limits or what a field means. No pattern backtracks, so that each is linear on hostile
input: a repeated byte class is possessive, and a repeated group is inside an atomic group, because
a possessive repeat of a group is wrong in CPython 3.11.2 if an iteration fails halfway. No capture
group is inside a repeat, because CPython 3.11.7, 3.12.1 and 3.13.0 report wrong spans for it.
Neighbours: `field_lines.py`, `fields.py` and `chunked_body.py` use the patterns.
"""

import re
from typing import Final

# RFC 9110 section 5.6.2: token = 1*tchar
TCHAR: Final = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
TOKEN: Final = rb"[" + TCHAR + rb"]++"

# RFC 9110 section 5.5: a field value has visible bytes, SP, HTAB and obs-text only.
FIELD_BYTE: Final = rb"[\t\x20-\x7e\x80-\xff]"

# RFC 9112 section 5: no white space before the colon, no obs-fold, and CRLF as line end.
FIELD_LINE: Final = TOKEN + rb":" + FIELD_BYTE + rb"*+\r\n"
# The same without its CRLF. The groups are name and value; the value may end in white space.
FIELD: Final = rb"(" + TOKEN + rb"):[ \t]*+(" + FIELD_BYTE + rb"*+)"

# RFC 9112 section 3. The target is forwarded byte for byte. Stricter than many: bytes above 0x7E
# are refused. A fragment is never part of a request target (RFC 9110 section 7.1).
TARGET: Final = rb"[\x21\x22\x24-\x7e]++"
REQUEST_LINE: Final = rb"(" + TOKEN + rb") (" + TARGET + rb") HTTP/1\.([01])\r\n"

# RFC 9112 section 4. The space after the status is required even without a reason phrase.
STATUS_LINE: Final = rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) " + FIELD_BYTE + rb"*+\r\n"
# A status line as services send it, without its line end: any version of HTTP/1 (RFC 9110 section
# 2.5), and no space if there is no reason phrase. The groups are version, status, reason phrase.
ANY_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: (" + FIELD_BYTE + rb"*+))?"
)

# RFC 9110 section 7.2 and RFC 3986 section 3.2.2, without userinfo. Stricter: "," is refused in a
# reg-name, because a lenient reader takes a list of hosts for two hosts.
_REG_NAME: Final = rb"(?>(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+)"
_IP_LITERAL: Final = rb"\[(?:[0-9A-Fa-f:.]++|[vV][0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+;=:]++)\]"
HOST: Final = re.compile(rb"(?:" + _IP_LITERAL + rb"|" + _REG_NAME + rb")(?::[0-9]{0,5})?")

# RFC 9110 section 9.3.6: the target of CONNECT is host and port, both present.
AUTHORITY: Final = re.compile(rb"(?:" + _IP_LITERAL + rb"|" + _REG_NAME + rb"):[0-9]{1,5}")

# RFC 9112 section 3.2.2, with the only scheme that a plain-text proxy can forward.
ABSOLUTE_TARGET: Final = re.compile(rb"(?i:http)://([^/?]*+)(.*+)", re.DOTALL)

# RFC 9110 section 8.6: 1*DIGIT, with so few digits that no 64-bit integer overflows.
CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

TOKEN_ONLY: Final = re.compile(TOKEN)
# One valid field line; group 1 is the field name.
NAMED_FIELD_LINE: Final = re.compile(rb"([" + TCHAR + rb"]++):" + FIELD_BYTE + rb"*+\r\n")

# RFC 9110 section 7.8: protocol = protocol-name ["/" protocol-version]
UPGRADE_PROTOCOL: Final = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?")

# RFC 9112 section 7.1. Stricter: no white space ("BWS") around the parts of an extension, and at
# most 15 digits, so that no 64-bit integer overflows.
_QUOTED: Final = rb'"(?>(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*)"'
_CHUNK_EXT: Final = rb"(?>(?:;" + TOKEN + rb"(?:=(?:" + TOKEN + rb"|" + _QUOTED + rb"))?)*)"
CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:\r\n|(?=;)" + _CHUNK_EXT + rb"\r\n)")
# The beginning of such a line whose end has not arrived.
CHUNK_LINE_START: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,15}+(?:;" + FIELD_BYTE + rb"*+)?\r?)?")
# The same in responses: blanks after the size, white space around ";" and "=" (RFC 9110 section
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
# RFC 9112 section 2.2: a LF without CR, and a CR without LF, are no line ends.
BARE_LF: Final = re.compile(rb"(?<!\r)\n")

# RFC 9110 section 5.6.4. An unclosed string extends to the end of the value, so that the search for
# all strings is linear.
QUOTED_STRING: Final = re.compile(rb'"(?>(?:[^"\\]|\\.)*)["\\]?', re.DOTALL)
