# cython: language_level=3, binding=False
"""What a reactor calls: the owner of one descriptor. Neighbour: `_reactor.pyx`."""

from libc.stdint cimport uint32_t


cdef class Source:
    """Something with a descriptor; the reactor calls it, and its subclasses say what happens."""

    cdef int on_events(self, uint32_t events) except -1:
        """Act on events of the descriptor."""
        return 0

    cdef int on_turn(self) except -1:
        """Do what was put off by `read_again`."""
        return 0

    cdef int on_closing(self) except -1:
        """Report the loss, and close the descriptor."""
        return 0

    cdef int on_error(self, object error) except -1:
        """A callback has raised `error`."""
        return 0

    cdef int abandon(self) except -1:
        """The reactor closes: call `close_later`, if that was not done."""
        return 0
