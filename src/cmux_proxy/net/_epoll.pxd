"""What Linux offers for waiting on many descriptors: epoll(7), and the monotonic clock."""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64

    struct epoll_event:
        uint32_t events
        epoll_data_t data

    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int count, int milliseconds)

    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD

    cdef uint32_t EPOLLIN
    cdef uint32_t EPOLLOUT
    cdef uint32_t EPOLLPRI
    cdef uint32_t EPOLLRDHUP
    cdef uint32_t EPOLLHUP
    cdef uint32_t EPOLLERR
    cdef uint32_t EPOLLET


cdef extern from * nogil:
    """
    /* What a connection waits for; for room to send only at times. */
    #define READING_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET)
    /* With one of these, something follows the bytes of a read that was not full. */
    #define FOLLOWED_EVENTS (EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR)
    """
    cdef uint32_t READING_EVENTS
    cdef uint32_t FOLLOWED_EVENTS


cdef extern from * nogil:
    """
    #include <time.h>

    static double monotonic_seconds(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec + now.tv_nsec * 1e-9;
    }
    """
    double monotonic_seconds()
