"""A few field values -> a Target. Pure: never sees a head, a socket or a clock.

target       what a route leads to          port_field   X-Cmux-Port-Internal, strictly
router       asks the rules in order; the piece an embedder replaces
"""
