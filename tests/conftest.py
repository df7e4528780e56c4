"""How much the property tests try, and Ctrl-C for all programs that the tests start.

HYPOTHESIS_PROFILE is dev (the default), ci or nightly.
"""

import os
import signal

from hypothesis import settings

_EXAMPLES = {"dev": 50, "ci": 300, "nightly": 5000}

for _name, _examples in _EXAMPLES.items():
    settings.register_profile(_name, max_examples=_examples, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# A shell starts what it runs in the background with SIGINT ignored, and programs inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
