"""The configuration: its sections, the options that set them, the file and the variables."""
