/* A fast echo server to measure clients: one process, one epoll loop.
 *
 * It prints "listening on port N" and serves until it is killed. It does not check the opening handshake. It echoes
 * every frame unmasked, answers Pings with Pongs, and closes the connection after a Close. Linux only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, READ_SIZE = 1 << 18, CLOSE = 8, PING = 9, PONG = 10 };

struct bytes {
    uint8_t *data;
    size_t size, room;
};

struct connection {
    int fd, is_open, is_closing, wants_out;
    struct bytes in, out;
    size_t written; /* bytes of out */
};

static int poll_fd;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void reserve(struct bytes *bytes, size_t more) {
    if (bytes->size + more > bytes->room) {
        bytes->room = 2 * (bytes->size + more);
        bytes->data = realloc(bytes->data, bytes->room);
        if (!bytes->data)
            fail("memory");
    }
}

static void append(struct bytes *bytes, const void *data, size_t size) {
    reserve(bytes, size);
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

/* SHA-1 (RFC 3174) of at most 119 bytes, for the key and the GUID. */
static void sha1(const char *text, size_t size, uint8_t *digest) {
    uint8_t block[128] = {0};
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}, w[80];
    size_t total = size + 9 <= 64 ? 64 : 128;
    memcpy(block, text, size);
    block[size] = 0x80;
    for (int i = 0; i < 8; i++)
        block[total - 1 - (size_t)i] = (uint8_t)((uint64_t)size * 8 >> 8 * i);
#define ROTATED(value, by) ((value) << (by) | (value) >> (32 - (by)))
    for (size_t at = 0; at < total; at += 64) {
        for (int i = 0; i < 80; i++) {
            if (i < 16) {
                memcpy(&w[i], block + at + 4 * i, 4);
                w[i] = ntohl(w[i]);
            } else {
                uint32_t x = w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
                w[i] = ROTATED(x, 1);
            }
        }
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                         : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                         : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                  : (b ^ c ^ d) + 0xca62c1d6;
            uint32_t next = ROTATED(a, 5) + f + e + w[i];
            e = d, d = c, c = ROTATED(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void accept_key(const uint8_t *key, char *out) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[60];
    uint8_t digest[21] = {0};
    memcpy(text, key, 24);
    memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    sha1(text, 60, digest);
    for (int i = 0; i < 21; i += 3) {
        uint32_t three = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | digest[i + 2];
        for (int j = 0; j < 4; j++)
            *out++ = letters[three >> (18 - 6 * j) & 63];
    }
    out[-1] = '=';
    *out = 0;
}

/* Processes the request head once it is complete. Returns the number of bytes consumed. */
static size_t take_request(struct connection *c) {
    uint8_t *end = memmem(c->in.data, c->in.size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    char accept[32] = "", response[256];
    for (uint8_t *at = c->in.data; at < end; at++)
        if (end - at > 43 && !strncasecmp((char *)at, "\r\nSec-WebSocket-Key:", 20)) {
            for (at += 20; *at == ' ';)
                at++;
            accept_key(at, accept);
            break;
        }
    int size = snprintf(response, sizeof response,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    append(&c->out, response, (size_t)size);
    c->is_open = 1;
    return (size_t)(end - c->in.data) + 4;
}

/* Processes a complete frame at `from`. Returns the number of bytes consumed. */
static size_t take_frame(struct connection *c, size_t from) {
    uint8_t *data = c->in.data + from;
    size_t size = c->in.size - from, head = 2;
    if (size < 2)
        return 0;
    uint64_t length = data[1] & 127;
    if (length > 125) {
        head = length == 126 ? 4 : 10;
        if (size < head)
            return 0;
        length = 0;
        for (size_t i = 2; i < head; i++)
            length = length << 8 | data[i];
    }
    if (size < head + 4 + length) {
        reserve(&c->in, head + 4 + length - size);
        return 0;
    }
    uint8_t opcode = data[0] & 15, first = opcode == PING ? 0x80 | PONG : data[0];
    if (opcode != PONG) {
        reserve(&c->out, head + length);
        uint8_t *out = c->out.data + c->out.size, *key = data + head, *payload = data + head + 4;
        memcpy(out, data, head);
        out[0] = first;
        out[1] &= 127;
        uint64_t i = 0, keys, eight;
        memcpy(&keys, key, 4);
        memcpy((uint8_t *)&keys + 4, key, 4);
        for (; i + 8 <= length; i += 8) {
            memcpy(&eight, payload + i, 8);
            eight ^= keys;
            memcpy(out + head + i, &eight, 8);
        }
        for (; i < length; i++)
            out[head + i] = payload[i] ^ key[i & 3];
        c->out.size += head + length;
    }
    if (opcode == CLOSE)
        c->is_closing = 1;
    return head + 4 + length;
}

static void watch(struct connection *c, int how, int out) {
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poll_fd, how, c->fd, &event))
        fail("epoll_ctl");
    c->wants_out = out;
}

static void end(struct connection *c) {
    close(c->fd);
    free(c->in.data);
    free(c->out.data);
    free(c);
}

/* Returns whether the connection is still open. */
static int write_out(struct connection *c) {
    while (c->written < c->out.size) {
        ssize_t count = send(c->fd, c->out.data + c->written, c->out.size - c->written, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) {
            if (!c->wants_out)
                watch(c, EPOLL_CTL_MOD, 1);
            return 1;
        }
        if (count < 0) {
            end(c);
            return 0;
        }
        c->written += (size_t)count;
    }
    c->out.size = c->written = 0;
    if (c->wants_out)
        watch(c, EPOLL_CTL_MOD, 0);
    if (c->is_closing) {
        end(c);
        return 0;
    }
    return 1;
}

static void on_input(struct connection *c) {
    reserve(&c->in, READ_SIZE);
    ssize_t count = recv(c->fd, c->in.data + c->in.size, c->in.room - c->in.size, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0) {
        end(c);
        return;
    }
    c->in.size += (size_t)count;
    size_t from = c->is_open ? 0 : take_request(c);
    if (c->is_open)
        for (size_t used; !c->is_closing && (used = take_frame(c, from));)
            from += used;
    memmove(c->in.data, c->in.data + from, c->in.size - from);
    c->in.size -= from;
    write_out(c);
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        fail("listen");
    printf("listening on port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    poll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                int fd = accept(listener, NULL, NULL);
                if (fd < 0)
                    continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                if (!(c = calloc(1, sizeof *c)))
                    fail("memory");
                c->fd = fd;
                watch(c, EPOLL_CTL_ADD, 0);
            } else if (!(events[i].events & EPOLLOUT) || write_out(c))
                if (events[i].events & ~(uint32_t)EPOLLOUT)
                    on_input(c);
        }
    }
}
