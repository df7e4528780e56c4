"""How much the property tests try: HYPOTHESIS_PROFILE is dev (the default), ci or nightly."""

import os

from hypothesis import settings

_EXAMPLES = {"dev": 50, "ci": 300, "nightly": 5000}

for _name, _examples in _EXAMPLES.items():
    settings.register_profile(_name, max_examples=_examples, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
