"""Where an authority's certificate is trusted: the stores of systems and browsers."""
