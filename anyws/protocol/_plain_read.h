/* Reading on the plain path: from the socket into the inbox, and then to the task or the function that waits. */

#ifndef ANYWS_PLAIN_READ_H
#define ANYWS_PLAIN_READ_H

#include "_plain_path.h"

#ifndef _WIN32

/* Call a method of the pump, unless the path was detached, and steal the argument; on failure, or if the argument is
 * NULL, return -1 and set an error. */
static int
plain_path_tell_pump(PlainPath *path, const char *name, PyObject *argument)
{
    PyObject *pump = Py_XNewRef(path->pump), *result = NULL;

    if (argument != NULL) {
        result = pump == NULL ? Py_NewRef(Py_None) : PyObject_CallMethod(pump, name, "O", argument);
        Py_DECREF(argument);
    }
    Py_XDECREF(pump);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Tell the keepalive that the peer is alive, unless the path was detached in the meantime. */
static int
plain_path_heard(PlainPath *path, State *state)
{
    PyObject *keepalive = Py_XNewRef(path->keepalive), *clock = Py_XNewRef(path->now), *now;
    int failed = 0;

    if (clock != NULL) {
        now = PyObject_CallNoArgs(clock);
        failed = now == NULL ? -1 : PyObject_SetAttr(keepalive, state->last_heard, now);
        Py_XDECREF(now);
    }
    Py_XDECREF(clock);
    Py_XDECREF(keepalive);
    return failed;
}

/* Take the buffer for a read; NULL if memory runs out. A program may run during the read after all, if it has replaced
 * the error handler "strict", and may then read from another connection. */
static unsigned char *
take_read_buffer(State *state)
{
    unsigned char *buffer = NULL;

    (void)state;
#ifndef Py_GIL_DISABLED
    buffer = state->read_buffer;
    state->read_buffer = NULL;
#endif
    return buffer != NULL ? buffer : PyMem_Malloc(READ_SIZE);
}

static void
put_read_buffer_back(State *state, unsigned char *buffer)
{
#ifndef Py_GIL_DISABLED
    if (state->read_buffer == NULL) {
        state->read_buffer = buffer;
        return;
    }
#endif
    (void)state;
    PyMem_Free(buffer);
}

/* What a read has left for Python: data that is not plain, or a large message that is incomplete; or nothing. */
typedef struct {
    PyObject *data;
    PyObject *large; /* a bytes object that has the size of the whole payload */
    Py_ssize_t received;
    unsigned char header[MAX_HEADER];
    int header_size, has_failed; /* an extension has failed, and an error is set */
} Rest;

/* Return whether more of a message may be read, of which so many bytes have arrived; as `Intake.has_space`. */
static int
plain_path_has_space(const MessageQueue *inbox, Py_ssize_t received)
{
    return received < inbox->limit - inbox->size || (inbox->receiver_waits && inbox->messages.count == 0);
}

/* Read the rest of a large message directly into it, until all has arrived or nothing more is there. An error is left
 * to the next read. */
static void
plain_path_fill(PlainPath *path, PyObject *message, Py_ssize_t *received, const unsigned char *key)
{
    unsigned char *to = (unsigned char *)PyBytes_AS_STRING(message);
    Py_ssize_t length = PyBytes_GET_SIZE(message), size, left = MAX_READ_TURN;
    unsigned char rotated[KEY_LENGTH];

    while (*received < length && left > 0 && plain_path_has_space(path->inbox, *received)) {
        size = recv(path->descriptor, to + *received, length - *received, 0);
        if (size <= 0) {
            return;
        }
        if (key != NULL) {
            for (int i = 0; i < KEY_LENGTH; i++) {
                rotated[i] = key[(*received + i) % KEY_LENGTH];
            }
            copy_masked(to + *received, to + *received, size, rotated);
        }
        *received += size;
        left -= size;
    }
}

/* Begin a large message if one comes next, and if it is plain; return whether there was one, or -1 if it is lost because
 * memory ran out. */
static int
plain_path_read_large(PlainPath *path, State *state, const unsigned char *data, Py_ssize_t available, Rest *rest)
{
    MessageQueue *inbox = path->inbox;
    Py_ssize_t received;
    PyObject *message;
    Frame frame;

    if (inbox->size >= inbox->limit || inbox->wants_pieces ||
        !read_header(data, available, inbox->masked, inbox->max_size, 0, &frame) || frame.opcode != BINARY) {
        return 0;
    }
    received = available - (frame.size - frame.length);
    if (received > frame.length) { /* it is complete, but memory ran out when it was to be added */
        return 0;
    }
    if (received < LARGE || frame.length / RESERVE_FACTOR > received) {
        return 0;
    }
    keep_memory(state, frame.length);
    message = PyBytes_FromStringAndSize(NULL, frame.length);
    if (message == NULL) { /* Python may find enough memory for a part of it, or raises the error */
        PyErr_Clear();
        return 0;
    }
    copy(PyBytes_AS_STRING(message), (const char *)frame.payload, received, frame.key);
    plain_path_fill(path, message, &received, frame.key);
    if (received == frame.length) {
        int failed = queue_push(&inbox->messages, message);
        if (!failed) {
            inbox->size += memory_of(message);
            inbox->messages_added++;
            inbox->bytes_read += frame.size;
        }
        Py_DECREF(message);
        return failed ? -1 : 1;
    }
    rest->large = message;
    rest->received = received;
    rest->header_size = (int)(frame.size - frame.length);
    memcpy(rest->header, data, rest->header_size);
    return 1;
}

/* Put the messages that are plain into the inbox; see `message_queue_add_frames`. */
static Py_ssize_t
plain_path_add_frames(PlainPath *path, const unsigned char *data, Py_ssize_t size)
{
    PyObject *decode = Py_XNewRef(path->decode);
    Py_ssize_t position = message_queue_add_frames(path->inbox, data, size, path->rsv, decode);

    Py_XDECREF(decode);
    return position;
}

/* Read, and put the messages that are plain into the inbox. Return what recv() returns. */
static Py_ssize_t
plain_path_read(PlainPath *path, State *state, Rest *rest)
{
    unsigned char *buffer = take_read_buffer(state);
    Py_ssize_t size, position = 0;
    int large = 0, error;

    if (buffer == NULL) {
        errno = ENOMEM;
        return -1;
    }
    size = recv(path->descriptor, buffer, READ_SIZE, 0);
    error = errno;
    if (size > 0 && path->records == NULL) {
        position = plain_path_add_frames(path, buffer, size);
        rest->has_failed = position < 0;
        large = position < size && !rest->has_failed
                    ? plain_path_read_large(path, state, buffer + position, size - position, rest)
                    : 0;
    }
    if (size > 0 && position < size && !large && !rest->has_failed) {
        rest->data = PyBytes_FromStringAndSize((const char *)buffer + position, size - position);
        large = rest->data == NULL ? -1 : 0;
    }
    put_read_buffer_back(state, buffer);
    if (large < 0) {
        PyErr_Clear();
        error = ENOMEM;
        size = -1;
    }
    errno = error;
    return size;
}

static int call_deliver_now(struct Call *);

/* Deliver the messages in the inbox, or run the waiting task. */
static int
plain_path_arrived(PlainPath *path)
{
    if (path->inbox->messages.count == 0 || path->signal == NULL) {
        return 0;
    }
    return path->delivery != NULL && path->signal->callback != NULL ? call_deliver_now(path->delivery)
                                                                    : signal_run(path->signal);
}

/* Process decrypted data that is plain; hand everything else to the pump. */
static int
plain_path_decrypted(PlainPath *path, PyObject *data, int is_quiet)
{
    const unsigned char *start = (const unsigned char *)PyBytes_AS_STRING(data);
    Py_ssize_t size = PyBytes_GET_SIZE(data), position = plain_path_add_frames(path, start, size);

    if (position < 0) {
        return -1;
    }
    if (position == size && is_quiet) {
        return plain_path_arrived(path);
    }
    return plain_path_tell_pump(path, "feed_decrypted",
                                PyBytes_FromStringAndSize((const char *)start + position, size - position));
}

/* Decrypt data, steal its reference, and process what it contains. */
static int
plain_path_decrypt(PlainPath *path, State *state, PyObject *data)
{
    PyObject *records = Py_NewRef(path->records), *decrypted, *is_quiet = NULL;
    int failed = -1;

    decrypted = PyObject_CallMethodOneArg(records, state->decrypt, data);
    Py_DECREF(data);
    if (decrypted != NULL && check_bytes(decrypted) == 0 &&
        (is_quiet = PyObject_GetAttr(records, state->is_quiet)) != NULL && plain_path_heard(path, state) == 0) {
        failed = plain_path_decrypted(path, decrypted, is_quiet == Py_True);
    }
    Py_XDECREF(decrypted);
    Py_XDECREF(is_quiet);
    Py_DECREF(records);
    return failed;
}

/* Hand an incomplete large message to Python. */
static int
plain_path_hand_over(PlainPath *path, State *state, Rest *rest)
{
    PyObject *payload = payload_of(state->payload_type, rest->large, rest->received), *pump, *result = NULL;

    if (payload != NULL && plain_path_heard(path, state) == 0) {
        pump = Py_XNewRef(path->pump);
        result = pump == NULL ? Py_NewRef(Py_None)
                              : PyObject_CallMethod(pump, "feed_large", "y#O", rest->header,
                                                    (Py_ssize_t)rest->header_size, payload);
        Py_XDECREF(pump);
    }
    Py_XDECREF(payload);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Read, and run the waiting task if a message has arrived; hand everything else to the pump. */
static int
plain_path_receive_data(PlainPath *path, State *state)
{
    Rest rest = {NULL, NULL, 0, {0}, 0, 0};
    Py_ssize_t size = plain_path_read(path, state, &rest);
    int error = errno;

    if (rest.has_failed) {
        return -1;
    }
    if (size < 0 && (error == EAGAIN || error == EWOULDBLOCK || error == EINTR)) {
        return 0;
    }
    if (size < 0) {
        return plain_path_tell_pump(path, "reading_failed", PyLong_FromLong(error));
    }
    if (size == 0) {
        return call_method(path->pump, "reading_ended");
    }
    if (path->records != NULL) {
        return plain_path_decrypt(path, state, rest.data);
    }
    if (rest.data != NULL) {
        return plain_path_tell_pump(path, "feed", rest.data);
    }
    if (rest.large != NULL) {
        return plain_path_hand_over(path, state, &rest);
    }
    return plain_path_heard(path, state) < 0 ? -1 : plain_path_arrived(path);
}

#endif

/* Abort the connection because of the current exception. */
static int
plain_path_fail(PlainPath *path)
{
    PyObject *error = take_exception(), *result = NULL;

    if (path->link != NULL) {
        result = PyObject_CallMethod(path->link, "fail_internally", "O", error);
    }
    Py_DECREF(error);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Read once, or let the pump read; on failure, return -1 and set an error. */
static int
plain_path_read_once(PlainPath *path)
{
    if (path->pump == NULL || path->inbox == NULL) {
        return 0;
    }
#ifndef _WIN32
    if (path->descriptor >= 0 && path->inbox->is_on_fast_path && path->inbox->is_open &&
        path->inbox->size < path->inbox->limit) {
        return plain_path_receive_data(path, PyType_GetModuleState(Py_TYPE(path)));
    }
#endif
    return call_method(path->pump, "on_readable");
}

static PyObject *
plain_path_on_readable(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    int failed;

    Py_INCREF(self);
    Py_BEGIN_CRITICAL_SECTION(self);
    failed = plain_path_read_once((PlainPath *)self);
    if (failed && PyErr_ExceptionMatches(PyExc_Exception)) { /* ends this connection, and nothing else */
        failed = plain_path_fail((PlainPath *)self);
    }
    Py_END_CRITICAL_SECTION();
    Py_DECREF(self);
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}

#endif
