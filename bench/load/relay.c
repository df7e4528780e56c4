/* A relay of bytes without any protocol: the least that a proxy can cost on this machine.

     relay PORT UPSTREAM    ports of 127.0.0.1

   Every client gets one connection to the upstream. One thread waits with epoll, edge-triggered: a
   socket is registered once, and read until a read is short. Bytes that a peer does not accept yet
   are kept, and the other side is not read until they are written. An end of data is passed on as
   one; when both sides have ended, or one has failed, both are closed. */
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
#include <unistd.h>

enum { CHUNK = 64 * 1024, EVENTS = 512, BACKLOG = 4096 };

/* One socket of a pair. `unsent` holds bytes for this socket, read from its peer. */
struct side {
    int fd;
    bool has_ended, is_dead;
    struct side *peer, *next_dead;
    char *unsent;
    ssize_t from, to;
};

static char buffer[CHUNK];
static struct side *dead;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int tcp_socket(void) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    return fd;
}

static int listen_at(int port) {
    struct sockaddr_in address = loopback(port);
    int fd = tcp_socket();
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, BACKLOG))
        fail("listen");
    return fd;
}

/* Mark a pair as dead. It is freed after the batch, because later events may still name it. */
static void drop(struct side *side) {
    if (side->is_dead)
        return;
    side->is_dead = side->peer->is_dead = true;
    side->next_dead = dead;
    dead = side;
}

static void bury(void) {
    while (dead) {
        struct side *side = dead, *peer = side->peer;
        dead = side->next_dead;
        close(side->fd);
        close(peer->fd);
        free(side->unsent);
        free(peer->unsent);
        free(side);
        free(peer);
    }
}

static void end(struct side *from) {
    from->has_ended = true;
    if (from->peer->has_ended)
        drop(from);
    else
        shutdown(from->peer->fd, SHUT_WR);
}

/* Keep bytes that a side does not accept yet. */
static void keep(struct side *to, const char *bytes, ssize_t length) {
    to->unsent = malloc(length);
    if (!to->unsent)
        fail("malloc");
    memcpy(to->unsent, bytes, length);
    to->from = 0;
    to->to = length;
}

/* Write bytes; return whether all are written. */
static bool put(struct side *to, const char *bytes, ssize_t length) {
    ssize_t sent = send(to->fd, bytes, length, MSG_NOSIGNAL);
    if (sent == length)
        return true;
    if (sent < 0 && errno != EAGAIN)
        drop(to);
    else
        keep(to, bytes + (sent < 0 ? 0 : sent), length - (sent < 0 ? 0 : sent));
    return false;
}

/* Write what was kept; return whether nothing is left. */
static bool flush(struct side *to) {
    if (!to->unsent)
        return true;
    ssize_t sent = send(to->fd, to->unsent + to->from, to->to - to->from, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            drop(to);
        return false;
    }
    to->from += sent;
    if (to->from < to->to)
        return false;
    free(to->unsent);
    to->unsent = NULL;
    return true;
}

/* Move bytes until there are no more, or the other side accepts no more. A short read has taken all
   bytes, unless the end of data arrived with them, which is no event a second time. */
static void pump(struct side *from, bool may_have_ended) {
    struct side *to = from->peer;
    while (!from->has_ended && !to->unsent) {
        ssize_t got = recv(from->fd, buffer, CHUNK, 0);
        if (got > 0) {
            if (!put(to, buffer, got) || (got < CHUNK && !may_have_ended))
                return;
        } else if (got == 0) {
            end(from);
        } else {
            if (errno != EAGAIN)
                drop(from);
            return;
        }
    }
}

/* Errors are those of the next read or write. */
static void handle(struct side *side, uint32_t events) {
    /* After a pause the end of the peer's data is no new event, so that its reads continue to it. */
    if (events & EPOLLOUT && side->unsent && flush(side))
        pump(side->peer, true);
    if (!side->is_dead && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        pump(side, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
}

static void watch(int poll, struct side *side) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    event.data.ptr = side;
    if (epoll_ctl(poll, EPOLL_CTL_ADD, side->fd, &event))
        fail("epoll_ctl");
}

static void accept_all(int listener, int poll, int upstream) {
    struct sockaddr_in address = loopback(upstream);
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        struct side *client = calloc(1, sizeof *client), *server = calloc(1, sizeof *server);
        if (!client || !server)
            fail("calloc");
        *client = (struct side){.fd = fd, .peer = server};
        *server = (struct side){.fd = tcp_socket(), .peer = client};
        if (connect(server->fd, (void *)&address, sizeof address) && errno != EINPROGRESS)
            fail("connect");
        watch(poll, client);
        watch(poll, server);
    }
}

int main(int count, char **words) {
    if (count != 3)
        return 1;
    signal(SIGPIPE, SIG_IGN);
    int poll = epoll_create1(0), listener = listen_at(atoi(words[1]));
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event))
        fail("epoll_ctl");
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct side *side = events[i].data.ptr;
            if (!side)
                accept_all(listener, poll, atoi(words[2]));
            else if (!side->is_dead)
                handle(side, events[i].events);
        }
        bury();
    }
}
