"""The functions that the harnesses call; loaded twice, once with each build (`fuzz/builds.py`)."""
