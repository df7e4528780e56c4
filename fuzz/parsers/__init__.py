"""What the harnesses feed: loaded twice, once with each build (`fuzz/builds.py`)."""
