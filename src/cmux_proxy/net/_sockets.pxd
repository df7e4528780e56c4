"""The system calls on connected and listening sockets, and the addresses of peers."""


cdef extern from "sys/socket.h" nogil:
    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int shutdown(int fd, int how)

    enum:
        AF_UNIX
        MSG_NOSIGNAL
        SHUT_WR


cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <arpa/inet.h>
    #include <net/if.h>
    #include <netinet/in.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <sys/uio.h>

    extern int accept4(int, struct sockaddr *, socklen_t *, int);

    /* Unix sockets have no address that says anything, so there is no room for one. */
    typedef union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } peer_address;

    static int accept_peer(int fd, peer_address *peer)
    {
        socklen_t size = sizeof *peer;

        peer->any.sa_family = AF_UNSPEC;
        return accept4(fd, &peer->any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }

    static ssize_t send_two(int fd, const void *first, size_t first_size, const void *second,
                            size_t second_size)
    {
        struct iovec parts[2] = {{(void *)first, first_size}, {(void *)second, second_size}};
        struct msghdr message;

        memset(&message, 0, sizeof message);
        message.msg_iov = parts;
        message.msg_iovlen = 2;
        return sendmsg(fd, &message, MSG_NOSIGNAL);
    }

    /* Write the IP address as text, with the zone of a link-local one (RFC 4007); return its port,
       or -1 for any other family. `text` has room for INET6_ADDRSTRLEN and IF_NAMESIZE bytes. */
    static int peer_text(const peer_address *peer, char *text, int size)
    {
        unsigned int scope;

        if (peer->any.sa_family == AF_INET) {
            inet_ntop(AF_INET, &peer->ipv4.sin_addr, text, size);
            return ntohs(peer->ipv4.sin_port);
        }
        if (peer->any.sa_family != AF_INET6)
            return -1;
        inet_ntop(AF_INET6, &peer->ipv6.sin6_addr, text, size);
        scope = peer->ipv6.sin6_scope_id;
        if (scope) {
            strcat(text, "%");
            if (!if_indextoname(scope, text + strlen(text)))
                sprintf(text + strlen(text), "%u", scope);
        }
        return ntohs(peer->ipv6.sin6_port);
    }
    """
    ctypedef union peer_address:
        pass

    int accept_peer(int fd, peer_address* peer)
    ssize_t send_two(
        int fd, const void* first, size_t first_size, const void* second, size_t second_size
    )
    int peer_text(const peer_address* peer, char* text, int size)


cdef inline object peer_name(const peer_address* peer):
    """Return address and port as a tuple, or None for a family that has none."""
    cdef char text[64]
    cdef int port = peer_text(peer, text, sizeof(text))
    return None if port < 0 else ((<bytes>text).decode("ascii"), port)
