# Upstreams, as lines of the access log have them. Part of _fast_lines.pyx.

# What stands before the workspace of a line, and behind it, if there is an upstream and if not.
_UPSTREAMS = {
    TEXT: ((" port=%d workspace=", " upstream=%s in="), (" port=- workspace=", " upstream=- in=")),
    JSON: (
        (',"port":%d,"workspace":', ',"upstream":%s,"bytes_in":'),
        (',"port":null,"workspace":', ',"upstream":null,"bytes_in":'),
    ),
    COMBINED: (("", ""), ("", "")),
}


cdef class Upstream:
    """An upstream in the lines: what stands before the workspace, and behind it."""

    cdef bytes before, behind
    cdef Py_ssize_t before_length, behind_length

    def __init__(self, int form, object target):
        before, behind = _UPSTREAMS[form][target is None]
        if target is not None and form != COMBINED:
            text = format_authority(target[0], target[1])
            before %= target[1]
            behind %= encode_basestring_ascii(text) if form == JSON else text
        behind = behind.encode("ascii", "backslashreplace")
        self.before_length = len(before)
        self.behind_length = len(behind)
        self.before = before.encode("ascii").ljust(PADDED)
        self.behind = behind.ljust(PADDED)
