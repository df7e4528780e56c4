"""The names of hosts: which texts are a label or a name of DNS.

Does not know which names exist, or what a host is used for.
"""

import re
from typing import Final

# RFC 1123 section 2.1 and RFC 1035 section 2.3.4, in lower case.
DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)

# The names of containers may have underscores too.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# In lower case, and without a dot at the end.
HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", re.ASCII)
# In any case, with or without a dot at the end.
ANY_HOST_NAME: Final = re.compile(HOST_NAME.pattern + r"\.?", re.ASCII | re.IGNORECASE)
