"""Random programs in which descriptors close, and open again as something else, within a batch."""
