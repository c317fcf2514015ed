/* Pings on a separate connection, to see how long the server's event loop keeps another connection waiting. They are sent
 * at a fixed rate, so that a long pause counts as often as it should, and by a thread, so that reading the messages does
 * not delay them. Included by load.c.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

enum { PONG = 10, PING_INTERVAL_NS = 1000000, MAX_PINGS = 1 << 18, PROBE_SIZE = 1 << 16 };

static uint64_t ping_histogram[BUCKETS], longest_ping, *ping_at;
static atomic_int pings_end;
static int probe_fd;
static pthread_t probe;

static void connect_for_pings(void) {
    char response[4096];
    size_t size = 0;
    int yes = 1;
    probe_fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(probe_fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(probe_fd, (struct sockaddr *)&address, sizeof address) ||
        send(probe_fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size)
        fail("connection for Pings");
    while (size < 4 || memcmp(response + size - 4, "\r\n\r\n", 4)) /* byte by byte: frames may follow */
        if (size == sizeof response || recv(probe_fd, response + size++, 1, 0) != 1)
            fail("response for Pings");
    if (!(ping_at = malloc(MAX_PINGS * sizeof *ping_at)))
        fail("memory");
}

/* A Pong also answers the Pings before it (RFC 6455, section 5.5.3). */
static long receive_pong(long pong, long answered, uint64_t time) {
    for (; answered <= pong; answered++) {
        uint64_t latency = time - ping_at[answered];
        ping_histogram[bucket_of(latency)]++;
        longest_ping = latency > longest_ping ? latency : longest_ping;
    }
    return answered;
}

/* Processes a complete frame. Frames are not masked, and shorter than 64 KiB. Returns the number of bytes consumed. */
static size_t take_frame(const uint8_t *data, size_t size, long *answered, uint64_t time) {
    if (size < 4)
        return 0;
    size_t length = data[1] & 127, head = length < 126 ? 2 : 4;
    if (length == 126)
        length = (size_t)data[2] << 8 | data[3];
    if (size < head + length)
        return 0;
    if ((data[0] & 15) == PONG && length == sizeof(long)) {
        long pong;
        memcpy(&pong, data + head, sizeof pong);
        *answered = receive_pong(pong, *answered, time);
    }
    return head + length;
}

static void *exchange_pings(void *unused) {
    static uint8_t data[PROBE_SIZE];
    uint8_t frame[14] = {0x89, 0x88}; /* the masking key is 0 */
    long pings = 0, answered = 0;
    size_t size = 0;
    (void)unused;
    for (uint64_t due = now();;) {
        int stops = pings_end || pings == MAX_PINGS;
        if (stops && answered == pings)
            return NULL;
        uint64_t time = now();
        if (!stops && time >= due) {
            memcpy(frame + 6, &pings, sizeof pings);
            ping_at[pings++] = now();
            if (send(probe_fd, frame, sizeof frame, MSG_NOSIGNAL) != sizeof frame)
                fail("send of a Ping");
            due = time + PING_INTERVAL_NS;
        }
        struct pollfd event = {.fd = probe_fd, .events = POLLIN};
        struct timespec rest = {.tv_sec = stops ? SILENCE_MS / 1000 : 0, .tv_nsec = stops ? 0 : PING_INTERVAL_NS};
        int is_ready = ppoll(&event, 1, &rest, NULL);
        if (!is_ready && stops)
            fail("no Pong");
        if (is_ready <= 0)
            continue;
        ssize_t count = recv(probe_fd, data + size, sizeof data - size, MSG_DONTWAIT);
        if (count <= 0)
            fail("the server has closed the connection for Pings");
        size += (size_t)count;
        size_t from = 0, used;
        for (time = now(); (used = take_frame(data + from, size - from, &answered, time));)
            from += used;
        memmove(data, data + from, size - from);
        size -= from;
    }
}

static void start_pings(void) {
    if (pthread_create(&probe, NULL, exchange_pings, NULL))
        fail("thread for Pings");
}

static void finish_pings(void) {
    pings_end = 1;
    pthread_join(probe, NULL);
}
