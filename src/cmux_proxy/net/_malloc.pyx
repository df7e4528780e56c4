# cython: language_level=3, binding=False
"""How the C library's allocator keeps freed memory. Only glibc's is known; others are left alone."""

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    static int keep_up_to(int size)
    {
        return mallopt(M_MMAP_THRESHOLD, size) && mallopt(M_TRIM_THRESHOLD, size);
    }
    #else
    static int keep_up_to(int size) { return 0; }
    #endif
    """
    int keep_up_to(int size)


def keep_free_memory(int size):
    """Give memory back to the kernel only once more than `size` bytes are free; for the process."""
    keep_up_to(size)
