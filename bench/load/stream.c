/* Transfers and ping-pong for the benchmark: client and upstream in one program, one thread each.

     stream upstream PORT                                 serve until it is stopped
     stream download|upload|tunnel PROXY UPSTREAM BYTES   one transfer over one connection
     stream ping-pong PROXY UPSTREAM CONNECTIONS SECONDS  64 bytes back and forth in every tunnel

   PROXY and UPSTREAM are ports of 127.0.0.1. Tunnels are opened with CONNECT and UPSTREAM in the
   field; if UPSTREAM is 0, the proxy has a fixed upstream and forwards every connection.
   A client prints its counts as one line of JSON, or fails with a line that says why.

   The method of a request tells the upstream what to do: GET /BYTES sends that many bytes, POST
   reads and drops its body, ECHO sends all following bytes back. Bulk data is dropped in the kernel,
   so that the load needs less time than the proxy. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, HEAD = 4096, MESSAGE = 64, EVENTS = 256, FDS = 65536, BINS = 1000000 };

struct peer {
    long to_send, to_drop;
    int used;
    bool echoes, is_full;
    char head[HEAD + 1];
};

static char buffer[CHUNK];
static struct peer *peers[FDS];

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "not what was due");
    exit(1);
}

static double now(void) { /* in microseconds */
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static int tcp_socket(int port, bool is_listener) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | (is_listener ? SOCK_NONBLOCK : 0), 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    if (is_listener ? bind(fd, (void *)&address, sizeof address) || listen(fd, 4096)
                    : connect(fd, (void *)&address, sizeof address))
        fail(is_listener ? "listen" : "connect");
    return fd;
}

static long chunk_of(long bytes) { return bytes < CHUNK ? bytes : CHUNK; }

static void watch(int poll, int fd, int how, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poll, how, fd, &event))
        fail("epoll");
}

/* The upstream. A handler of an event returns false to close the connection. */

static bool send_more(int fd, struct peer *peer) {
    while (peer->to_send > 0) {
        ssize_t sent = write(fd, buffer, chunk_of(peer->to_send));
        if (sent < 0)
            return errno == EAGAIN;
        peer->to_send -= sent;
    }
    return true;
}

static bool answer(int fd, struct peer *peer, long bytes) {
    char head[128];
    int length = sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", bytes);
    peer->to_send = bytes;
    return send(fd, head, length, bytes ? MSG_MORE : 0) == length && send_more(fd, peer);
}

static bool obey(int fd, struct peer *peer) {
    char *end = strstr(peer->head, "\r\n\r\n");
    if (!end)
        return peer->used < HEAD;
    int early = peer->used - (int)(end + 4 - peer->head);
    peer->used = 0;
    *end = 0;
    if (!strncmp(peer->head, "GET /", 5))
        return answer(fd, peer, atol(peer->head + 5));
    if (!strncmp(peer->head, "ECHO", 4)) {
        peer->echoes = true;
        return write(fd, end + 4, early) == early;
    }
    char *length = strcasestr(peer->head, "\r\nContent-Length:");
    peer->to_drop = length ? atol(length + 17) - early : 0;
    return peer->to_drop > 0 || answer(fd, peer, 0);
}

static bool receive(int fd, struct peer *peer) {
    ssize_t got;
    if (peer->echoes)
        return (got = read(fd, buffer, CHUNK)) > 0 && write(fd, buffer, got) == got;
    if (peer->to_drop) {
        got = recv(fd, buffer, chunk_of(peer->to_drop), MSG_TRUNC);
        return got > 0 && ((peer->to_drop -= got) || answer(fd, peer, 0));
    }
    if ((got = read(fd, peer->head + peer->used, HEAD - peer->used)) <= 0)
        return false;
    peer->used += got;
    peer->head[peer->used] = 0;
    return obey(fd, peer);
}

static void accept_all(int listener, int poll) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        if (fd >= FDS || !(peers[fd] = calloc(1, sizeof(struct peer))))
            fail("accept");
        watch(poll, fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void serve(int port) {
    struct epoll_event events[EVENTS];
    int poll = epoll_create1(0), listener = tcp_socket(port, true);
    watch(poll, listener, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            struct peer *peer = peers[fd];
            if (fd == listener) {
                accept_all(listener, poll);
            } else if (!(peer->to_send ? send_more(fd, peer) : receive(fd, peer))) {
                free(peer);
                close(fd);
            } else if (peer->is_full != (peer->to_send > 0)) {
                peer->is_full = peer->to_send > 0;
                watch(poll, fd, EPOLL_CTL_MOD, peer->is_full ? EPOLLOUT : EPOLLIN);
            }
        }
    }
}

/* The clients. */

static void send_all(int fd, const char *bytes, long length) {
    if (write(fd, bytes, length) != length) /* a blocking socket accepts all bytes */
        fail("send");
}

static void expect_ok(int fd) { /* reads a response head, and no byte after it */
    char head[HEAD + 1], *end = NULL;
    for (ssize_t got = 0; !end; end = strstr(head, "\r\n\r\n")) {
        if ((got = recv(fd, head, HEAD, MSG_PEEK)) <= 0)
            fail("response");
        head[got] = 0;
    }
    recv(fd, head, end + 4 - head, 0);
    if (strncmp(head, "HTTP/1.1 200", 12))
        fail(strtok(head, "\r"));
}

static int connect_to(int proxy, int upstream, bool is_tunnel) {
    int fd = tcp_socket(proxy, false);
    if (is_tunnel && upstream) {
        dprintf(fd, "CONNECT upstream:1 HTTP/1.1\r\nHost: upstream:1\r\n"
                "X-Cmux-Port-Internal: %d\r\n\r\n", upstream);
        expect_ok(fd);
    }
    return fd;
}

static void transfer(const char *mode, int proxy, int upstream, long bytes) {
    bool is_upload = !strcmp(mode, "upload");
    int fd = connect_to(proxy, upstream, !strcmp(mode, "tunnel"));
    double start = now();
    long to_send = is_upload ? bytes : 0, to_receive = is_upload ? 0 : bytes;
    dprintf(fd, "%s /%ld HTTP/1.1\r\nHost: localhost\r\nX-Cmux-Port-Internal: %d\r\n"
            "Content-Length: %ld\r\n\r\n", is_upload ? "POST" : "GET", bytes, upstream, to_send);
    for (long rest = to_send; rest > 0; rest -= CHUNK)
        send_all(fd, buffer, chunk_of(rest));
    expect_ok(fd);
    for (long rest = to_receive, got; rest > 0; rest -= got)
        if ((got = recv(fd, buffer, chunk_of(rest), MSG_TRUNC)) <= 0)
            fail("body");
    printf("{\"count\": %.6f, \"microseconds\": %.0f}\n", bytes / 1e6, now() - start);
}

static double percentile(const unsigned *bins, long count, double share) { /* in microseconds */
    long seen = 0;
    for (int bin = 0; bin < BINS; bin++)
        if ((seen += bins[bin]) >= count * share)
            return bin / 10.0;
    return BINS / 10.0;
}

static void ping_pong(int proxy, int upstream, int connections, double seconds) {
    static unsigned bins[BINS]; /* of a tenth of a microsecond; the last one has all longer times */
    static double sent_at[FDS];
    struct epoll_event events[EVENTS];
    int poll = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        int fd = connect_to(proxy, upstream, true);
        send_all(fd, "ECHO\r\n\r\n", 8);
        watch(poll, fd, EPOLL_CTL_ADD, EPOLLIN);
        sent_at[fd] = now();
        send_all(fd, buffer, MESSAGE);
    }
    double start = now(), time = start;
    long count = 0;
    while (time < start + seconds * 1e6) {
        int ready = epoll_wait(poll, events, EVENTS, 10000);
        if (ready <= 0)
            fail("no answer");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (recv(fd, buffer, MESSAGE, MSG_WAITALL) != MESSAGE)
                fail("message");
            time = now();
            double tenths = (time - sent_at[fd]) * 10;
            bins[tenths < BINS ? (int)tenths : BINS - 1]++;
            count++;
            sent_at[fd] = time;
            send_all(fd, buffer, MESSAGE);
        }
    }
    printf("{\"count\": %ld, \"microseconds\": %.0f, \"p50\": %.1f, \"p99\": %.1f}\n", count,
           time - start, percentile(bins, count, 0.5), percentile(bins, count, 0.99));
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    if (count == 3)
        serve(atoi(words[2]));
    else if (count == 5)
        transfer(words[1], atoi(words[2]), atoi(words[3]), atol(words[4]));
    else if (count == 6)
        ping_pong(atoi(words[2]), atoi(words[3]), atoi(words[4]), atof(words[5]));
    return count < 3;
}
