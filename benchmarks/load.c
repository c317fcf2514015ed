/* The load generator: one process, one epoll loop, and frames built in advance.
 *
 *   load echo PORT CONNECTIONS IN_FLIGHT SECONDS FRAMES REQUEST    round trips: each frame gets a message in response
 *   load raw ...                                                   the same with plain bytes: no handshake, no frames
 *   load fanout ...                                                the first connection sends, all connections receive;
 *                                                                  another one sends a Ping every millisecond
 *   load handshakes ...                                            connect, opening handshake, Close, end of stream
 *
 * With "tls" after REQUEST it uses TLS (if compiled with -DWITH_TLS) and accepts any certificate.
 * FRAMES and REQUEST are files. FRAMES contains a count, then for each frame its size and the payload size of the
 * response (-1: any), all as int32 in native byte order, then the frames themselves. They are sent in turn.
 * The program prints "ready", waits for a line, runs the load, prints the results in one line, and waits for the end of
 * its input, so that the caller can read the CPU time of the server. The results are the number of messages, the time
 * in seconds, and the latencies of messages (50 %, 99 %, 99.9 %) and of Pings (50 %, 99 %, 100 %; nan without Pings), in
 * microseconds. Linux only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
static SSL_CTX *context;
#endif

enum { ECHO, RAW, FANOUT, HANDSHAKES };
enum { CONNECTING, OPEN, CLOSING };
enum { CLOSE = 8, READ_SIZE = 1 << 20, EVENTS = 512, SUB = 32, BUCKETS = 64 * SUB, SILENCE_MS = 20000 };

struct connection {
    int fd, state;
    int wants_out;        /* registered for EPOLLOUT */
    long to_send;         /* frames due to be sent */
    long frame;           /* index of the next frame */
    size_t offset;        /* bytes of it already sent */
    uint8_t head[14];     /* head of the current frame */
    int head_size;
    uint64_t remaining;   /* of the payload */
    uint64_t message;     /* payload of the message so far */
    long answered;
    uint64_t *sent_at;    /* ring buffer */
    long sent_count;
    char response[4];     /* last bytes of the response head */
    int response_size;
#ifdef WITH_TLS
    SSL *tls;
#endif
};

static const uint8_t close_frame[] = {0x88, 0x82, 1, 2, 3, 4, 1 ^ 3, 2 ^ 0xe8};
static int mode, poll_fd, is_over, is_ready;
static long connections, in_flight, frame_count, opened, done, outstanding;
static int32_t *answer_sizes;
static size_t *starts;
static uint8_t *frames, *buffer;
static char *request;
static size_t request_size;
static struct connection *all;
static struct sockaddr_in address;
static uint64_t histogram[BUCKETS], fanout_at;

static void fail(const char *what) {
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Latency buckets: SUB per power of two, which limits the error to 3 %. */
static int bucket_of(uint64_t nanoseconds) {
    if (nanoseconds < SUB)
        return (int)nanoseconds;
    int power = 63 - __builtin_clzll(nanoseconds) - 5;
    return (power + 1) * SUB + (int)((nanoseconds >> power) - SUB);
}

static double percentile(const uint64_t *histogram, double part) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        total += histogram[i];
    for (int i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen && (double)seen >= part * (double)total) {
            int power = i / SUB - 1;
            return (power < 0 ? i : (double)((uint64_t)(i % SUB + SUB) << power)) / 1000;
        }
    }
    return 0;
}

static void *read_file(const char *name, size_t *size) {
    FILE *file = fopen(name, "rb");
    if (!file)
        fail(name);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, file) != *size)
        fail(name);
    fclose(file);
    return data;
}

/* The frames, repeated to at least the number in flight, so that one write can send them all. */
static void read_frames(const char *name) {
    size_t size;
    int32_t *numbers = read_file(name, &size);
    long given = numbers[0], repeats = given >= in_flight ? 1 : (in_flight + given - 1) / given;
    size_t total = 0;
    for (long i = 0; i < given; i++)
        total += (size_t)numbers[1 + 2 * i];
    frame_count = given * repeats;
    starts = malloc((size_t)(frame_count + 1) * sizeof *starts);
    answer_sizes = malloc((size_t)frame_count * sizeof *answer_sizes);
    frames = malloc(total * (size_t)repeats);
    if (!starts || !answer_sizes || !frames)
        fail("memory");
    starts[0] = 0;
    for (long i = 0; i < frame_count; i++) {
        starts[i + 1] = starts[i] + (size_t)numbers[1 + 2 * (i % given)];
        answer_sizes[i] = numbers[2 + 2 * (i % given)];
    }
    for (long i = 0; i < repeats; i++)
        memcpy(frames + (size_t)i * total, (uint8_t *)(numbers + 1 + 2 * given), total);
    free(numbers);
}

static ssize_t receive(struct connection *c, void *data, size_t size) {
#ifdef WITH_TLS
    if (c->tls) {
        int count = SSL_read(c->tls, data, (int)size), error = SSL_get_error(c->tls, count);
        errno = error == SSL_ERROR_WANT_READ ? EAGAIN : 0;
        return count > 0 ? count : error == SSL_ERROR_WANT_READ ? -1 : 0;
    }
#endif
    return recv(c->fd, data, size, MSG_DONTWAIT);
}

static ssize_t transmit(struct connection *c, const void *data, size_t size) {
#ifdef WITH_TLS
    if (c->tls) {
        int count = SSL_write(c->tls, data, size > 1 << 30 ? 1 << 30 : (int)size);
        errno = count <= 0 && SSL_get_error(c->tls, count) == SSL_ERROR_WANT_WRITE ? EAGAIN : 0;
        return count > 0 ? count : -1;
    }
#endif
    return send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int has_more(struct connection *c) {
#ifdef WITH_TLS
    return c->tls && SSL_pending(c->tls);
#else
    return c == NULL;
#endif
}

static void end(struct connection *c) {
#ifdef WITH_TLS
    if (c->tls)
        SSL_free(c->tls);
#endif
    close(c->fd);
}

static void watch(struct connection *c, int how, int out) {
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poll_fd, how, c->fd, &event))
        fail("epoll_ctl");
    c->wants_out = out;
}

static void start(struct connection *c) {
    uint64_t *sent_at = c->sent_at;
    memset(c, 0, sizeof *c);
    c->sent_at = sent_at;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0)
        fail("socket");
    int yes = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    while (connect(c->fd, (struct sockaddr *)&address, sizeof address))
        if (errno != EINTR && errno != EAGAIN)
            fail("connect");
#ifdef WITH_TLS
    if (context) {
        c->tls = SSL_new(context);
        SSL_set_fd(c->tls, c->fd);
        if (SSL_connect(c->tls) != 1)
            fail("TLS handshake");
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
    }
#endif
    if (mode != RAW && transmit(c, request, request_size) != (ssize_t)request_size)
        fail("send of the request");
    watch(c, EPOLL_CTL_ADD, 0);
    if (mode == RAW) {
        c->state = OPEN;
        opened++;
    }
    c->sent_at[0] = now();
}

static void write_frames(struct connection *c) {
    while (c->to_send) {
        long last = c->frame + c->to_send < frame_count ? c->frame + c->to_send : frame_count;
        size_t from = starts[c->frame] + c->offset;
        ssize_t sent = transmit(c, frames + from, starts[last] - from);
        if (sent < 0) {
            if (errno != EAGAIN)
                fail("send");
            if (!c->wants_out)
                watch(c, EPOLL_CTL_MOD, 1);
            return;
        }
        from += (size_t)sent;
        while (c->frame < last && from >= starts[c->frame + 1]) {
            c->frame++;
            c->to_send--;
        }
        c->offset = from - starts[c->frame];
        if (c->frame == frame_count)
            c->frame = 0;
    }
    if (c->wants_out)
        watch(c, EPOLL_CTL_MOD, 0);
}

static void send_more(struct connection *c, long count, uint64_t time) {
    for (long i = 0; i < count; i++)
        c->sent_at[c->sent_count++ % in_flight] = time;
    c->to_send += count;
    outstanding += mode == FANOUT ? connections : count;
    fanout_at = time;
    write_frames(c);
}

/* A complete message was received. */
static void answered(struct connection *c, uint64_t time) {
    int32_t expected = answer_sizes[c->answered % frame_count];
    if (expected >= 0 && (uint64_t)expected != c->message) {
        errno = 0;
        fprintf(stderr, "load: received %llu bytes, expected %d\n", (unsigned long long)c->message, expected);
        fail("an answer of another length");
    }
    c->message = 0;
    uint64_t sent = mode == FANOUT ? fanout_at : c->sent_at[c->answered % in_flight];
    c->answered++;
    histogram[bucket_of(time - sent)]++;
    done++;
    outstanding--;
}

static void parse_frames(struct connection *c, const uint8_t *data, size_t size, uint64_t time) {
    const uint8_t *end = data + size;
    while (data < end || (c->head_size && !c->remaining)) {
        if (!c->remaining) {
            int needed = 2;
            for (;;) {
                if (c->head_size >= 2)
                    needed = (c->head[1] & 127) < 126 ? 2 : (c->head[1] & 127) == 126 ? 4 : 10;
                if (c->head_size >= needed && c->head_size >= 2)
                    break;
                if (data == end)
                    return;
                c->head[c->head_size++] = *data++;
            }
            if (needed == 2)
                c->remaining = c->head[1] & 127;
            else
                for (int i = 2; i < needed; i++)
                    c->remaining = c->remaining << 8 | c->head[i];
            if (!(c->head[0] & 8))
                c->message += c->remaining;
        }
        size_t part = (size_t)(end - data) < c->remaining ? (size_t)(end - data) : (size_t)c->remaining;
        data += part;
        c->remaining -= part;
        if (c->remaining)
            return;
        int first = c->head[0];
        c->head_size = 0;
        if ((first & 15) == CLOSE) {
            errno = 0;
            if (c->state != CLOSING)
                fail("the server closes");
        } else if (first & 0x80 && !(first & 8))
            answered(c, time);
    }
}

/* Reads the response head up to the empty line, and checks the status. */
static size_t parse_response(struct connection *c, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (c->response_size == 9 && memcmp(data + i, "101", size - i < 3 ? size - i : 3)) {
            errno = 0;
            fail("not the status 101");
        }
        c->response_size++;
        memmove(c->response, c->response + 1, 3);
        c->response[3] = (char)data[i];
        if (!memcmp(c->response, "\r\n\r\n", 4)) {
            c->state = OPEN;
            opened++;
            return i + 1;
        }
    }
    return size;
}

static void finish_handshake(struct connection *c) {
    end(c);
    histogram[bucket_of(now() - c->sent_at[0])]++;
    done++;
    outstanding--;
    if (!is_over) {
        outstanding++;
        start(c);
    }
}

static void on_input(struct connection *c) {
    ssize_t count = receive(c, buffer, READ_SIZE);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0) {
        if (c->state == CLOSING) {
            finish_handshake(c);
            return;
        }
        errno = 0;
        fail("the server has gone");
    }
    uint64_t time = now();
    long before = c->answered;
    if (mode == RAW) {
        c->message += (uint64_t)count;
        uint64_t rest = c->message, size = starts[1];
        while (rest >= size) {
            c->message = size;
            answered(c, time);
            rest -= size;
        }
        c->message = rest;
    } else {
        size_t from = 0;
        if (c->state == CONNECTING) {
            from = parse_response(c, buffer, (size_t)count);
            if (c->state == OPEN && mode == HANDSHAKES) {
                c->state = CLOSING;
                if (transmit(c, close_frame, sizeof close_frame) < 0)
                    fail("send of the Close");
            }
        }
        parse_frames(c, buffer + from, (size_t)count - from, time);
    }
    if (is_ready && !is_over && mode != FANOUT && c->answered > before)
        send_more(c, c->answered - before, time);
}

static void step(void) {
    static struct epoll_event events[EVENTS];
    int count = epoll_wait(poll_fd, events, EVENTS, SILENCE_MS);
    if (!count) {
        errno = 0;
        fail("no answer for 20 seconds");
    }
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            write_frames(c);
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            do
                on_input(c);
            while (mode != HANDSHAKES && has_more(c));
    }
}

#include "pings.h"

int main(int argc, char **argv) {
    const char *modes[] = {"echo", "raw", "fanout", "handshakes"};
    if (argc != 8 && argc != 9)
        fail("seven arguments or eight, see load.c");
    if (argc == 9) {
#ifdef WITH_TLS
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
#else
        fail("compiled without TLS");
#endif
    }
    for (mode = 0; mode < 4 && strcmp(argv[1], modes[mode]);)
        mode++;
    connections = atol(argv[3]);
    in_flight = atol(argv[4]);
    double seconds = atof(argv[5]);
    read_frames(argv[6]);
    request = read_file(argv[7], &request_size);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    poll_fd = epoll_create1(0);
    buffer = malloc(READ_SIZE);
    all = calloc((size_t)connections, sizeof *all);
    for (long i = 0; i < connections; i++)
        all[i].sent_at = calloc((size_t)in_flight, sizeof(uint64_t));
    if (mode != HANDSHAKES)
        for (long i = 0; i < connections; i++) {
            start(&all[i]);
            while (opened < i - 8) /* within the server's backlog */
                step();
        }
    while (mode != HANDSHAKES && opened < connections)
        step();
    if (mode == FANOUT) {
        connect_for_pings();
        usleep(200000); /* until all handlers are running */
    }
    is_ready = 1;
    printf("ready\n");
    fflush(stdout);
    if (getchar() == EOF)
        return 0;

    uint64_t begin = now(), limit_at = begin + (uint64_t)(seconds * 1e9), time;
    memset(histogram, 0, sizeof histogram);
    if (mode == FANOUT)
        start_pings();
    if (mode == HANDSHAKES)
        for (long i = 0; i < connections; i++) {
            outstanding++;
            start(&all[i]);
        }
    else if (mode != FANOUT)
        for (long i = 0; i < connections; i++)
            send_more(&all[i], in_flight, begin);
    for (;;) {
        time = now();
        if (time >= limit_at)
            is_over = 1;
        if (!outstanding) {
            if (is_over)
                break;
            if (mode == FANOUT) {
                send_more(&all[0], 1, time);
            }
        }
        step();
    }
    double pings[] = {NAN, NAN, NAN};
    if (mode == FANOUT) {
        finish_pings();
        pings[0] = percentile(ping_histogram, 0.5);
        pings[1] = percentile(ping_histogram, 0.99);
        pings[2] = (double)longest_ping / 1000;
    }
    printf("%ld %.6f %.1f %.1f %.1f %.1f %.1f %.1f\n", done, (double)(time - begin) / 1e9, percentile(histogram, 0.5),
           percentile(histogram, 0.99), percentile(histogram, 0.999), pings[0], pings[1], pings[2]);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    if (mode == ECHO || mode == FANOUT)
        for (long i = 0; i < connections; i++)
            transmit(&all[i], close_frame, sizeof close_frame);
    return 0;
}
