"""The configuration: its sections, and the flags, variables and file that set them."""
