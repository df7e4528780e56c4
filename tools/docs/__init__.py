"""Makes the pages that say nothing but what the code says; `make pages` writes them.

They are committed, and a test compares each with what would be made now.
"""
