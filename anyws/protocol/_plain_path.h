/* `PlainPath`: receives and sends messages that need no decisions, directly on the socket.
 *
 * The rule of this file: it only knows whether the plain case holds, by flags that Python code sets. Whatever is not
 * plain (a part of a frame, a control frame, an error, a full buffer) is handed to Python as if this file did not exist.
 * The pure twin in _connection/plain_path.py documents the interface.
 */

#ifndef ANYWS_PLAIN_PATH_H
#define ANYWS_PLAIN_PATH_H

#include "_payload.h"
#include "_queues.h"
#include "_signal.h"

#include <errno.h>
#ifndef _WIN32
#include <sys/socket.h>
#include <sys/uio.h>
#endif

#ifndef MSG_NOSIGNAL /* macOS; Python ignores SIGPIPE */
#define MSG_NOSIGNAL 0
#endif

enum {
    READ_SIZE = 122880,
    SMALL = 1024,           /* a payload up to this size is copied behind its header, which costs less than sendmsg() */
    RESERVE_FACTOR = 16,    /* memory is allocated in advance for this many times what has arrived, as in frames.py */
    MAX_READ_TURN = 1 << 20 /* how many bytes of a large message are read before other connections have their turn */
};

struct Call;

typedef struct {
    PyObject_HEAD
    MessageQueue *inbox; /* the first five are NULL after garbage collection */
    FrameQueue *outbox;
    PyObject *link, *receiver, *sender;
    PyObject *pump, *keepalive, *now; /* NULL unless attached */
    PyObject *records;                /* the TLS layer, or NULL */
    Signal *signal;                   /* NULL if tasks do not wait for a signal */
    struct Call *delivery;            /* the call that waits for messages to deliver, borrowed, or NULL */
    Py_ssize_t budget;
    int descriptor;
} PlainPath;

typedef enum { RECEIVE, NEXT, DELIVER, SEND } Kind;
typedef enum { NEW, WAITING, DELEGATED, DONE } Stage;

/* What `receive`, `next`, `deliver` and `send` return: an awaitable that acts when it is awaited, like a coroutine. */
typedef struct Call {
    PyObject_HEAD
    PlainPath *path;
    PyObject *object;  /* SEND: the message; DELIVER: the function; otherwise NULL */
    PyObject *inner;   /* the coroutine that does what is not plain, or NULL */
    PyObject *outcome; /* DELIVER: what the function returned or raised, for the task; otherwise NULL */
    char kind, stage, has_failed, is_running;
} Call;

static const char *const call_names[] = {"receive", "__anext__", "deliver", "send"};

/* Call a method without arguments and drop its result; on failure, return -1 and set an error. */
static int
call_method(PyObject *object, const char *name)
{
    PyObject *result;

    if (object == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the connection has been garbage-collected");
        return -1;
    }
    Py_INCREF(object);
    result = PyObject_CallMethod(object, name, NULL);
    Py_DECREF(object);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Return the current exception, and clear it. */
static PyObject *
take_exception(void)
{
    PyObject *type, *error, *traceback;

    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return error;
}

/* -- PlainPath ----------------------------------------------------------------------------------------------------- */

static PyObject *
plain_path_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    State *state = PyType_GetModuleState(type);
    PyObject *inbox, *outbox, *link;
    Py_ssize_t budget;
    PlainPath *path;

    if (check_no_keywords("PlainPath", keywords) < 0 ||
        !PyArg_ParseTuple(arguments, "O!O!On:PlainPath", state->message_queue_type, &inbox, state->frame_queue_type,
                          &outbox, &link, &budget)) {
        return NULL;
    }
    path = (PlainPath *)type->tp_alloc(type, 0);
    if (path != NULL) {
        path->inbox = (MessageQueue *)Py_NewRef(inbox);
        path->outbox = (FrameQueue *)Py_NewRef(outbox);
        path->link = Py_NewRef(link);
        path->budget = budget;
        path->descriptor = -1;
    }
    return (PyObject *)path;
}

static int
plain_path_traverse(PyObject *self, visitproc visit, void *arg)
{
    PlainPath *path = (PlainPath *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(path->inbox);
    Py_VISIT(path->outbox);
    Py_VISIT(path->link);
    Py_VISIT(path->receiver);
    Py_VISIT(path->sender);
    Py_VISIT(path->pump);
    Py_VISIT(path->keepalive);
    Py_VISIT(path->now);
    Py_VISIT(path->records);
    Py_VISIT(path->signal);
    return 0;
}

/* Set what belongs to the socket, and steal the references. The fields change together, before any reference is dropped,
 * because that may run arbitrary code, which may use the path. */
static void
plain_path_use(PlainPath *path, PyObject *pump, PyObject *keepalive, PyObject *now, PyObject *records, Signal *signal,
               int descriptor)
{
    PyObject *dropped[5];

    Py_BEGIN_CRITICAL_SECTION(path);
    dropped[0] = path->pump;
    dropped[1] = path->keepalive;
    dropped[2] = path->now;
    dropped[3] = path->records;
    dropped[4] = (PyObject *)path->signal;
    path->pump = pump;
    path->keepalive = keepalive;
    path->now = now;
    path->records = records;
    path->signal = signal;
    path->descriptor = descriptor;
    Py_END_CRITICAL_SECTION();
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        Py_XDECREF(dropped[i]);
    }
}

static void
plain_path_forget_socket(PlainPath *path)
{
    plain_path_use(path, NULL, NULL, NULL, NULL, NULL, -1);
}

static int
plain_path_forget(PyObject *self)
{
    PlainPath *path = (PlainPath *)self;

    plain_path_forget_socket(path);
    Py_CLEAR(path->inbox);
    Py_CLEAR(path->outbox);
    Py_CLEAR(path->link);
    Py_CLEAR(path->receiver);
    Py_CLEAR(path->sender);
    return 0;
}

static void
plain_path_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, plain_path_dealloc)
    plain_path_forget(self);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyObject *
plain_path_attach(PyObject *self, PyObject *arguments)
{
    PlainPath *path = (PlainPath *)self;
    State *state = PyType_GetModuleState(Py_TYPE(self));
    PyObject *pump, *keepalive, *now, *signal, *records;
    int descriptor;

    if (!PyArg_ParseTuple(arguments, "OOOOOi:attach", &pump, &keepalive, &now, &signal, &records, &descriptor)) {
        return NULL;
    }
    plain_path_use(path, Py_NewRef(pump), Py_NewRef(keepalive), Py_NewRef(now),
                   records == Py_None ? NULL : Py_NewRef(records),
                   Py_IS_TYPE(signal, state->signal_type) ? (Signal *)Py_NewRef(signal) : NULL, descriptor);
    Py_RETURN_NONE;
}

static PyObject *
plain_path_detach(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    plain_path_forget_socket((PlainPath *)self);
    Py_RETURN_NONE;
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

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

/* Put the messages at the beginning of the data into the inbox; return the position of the first that is not plain. */
static Py_ssize_t
plain_path_put_frames(MessageQueue *inbox, const unsigned char *data, Py_ssize_t size)
{
    Py_ssize_t position = 0, room, left;

    Py_BEGIN_CRITICAL_SECTION(inbox);
    room = left = inbox->limit - inbox->size;
    append_messages(data, size, &position, inbox->masked, inbox->max_size, &left, append_to_queue, &inbox->messages);
    inbox->size += room - left;
    Py_END_CRITICAL_SECTION();
    return position;
}

/* Return the buffer for a read, which must not call Python code; NULL if memory runs out. */
static unsigned char *
read_buffer_of(State *state)
{
#ifdef Py_GIL_DISABLED
    return PyMem_Malloc(READ_SIZE);
#else
    if (state->read_buffer == NULL) {
        state->read_buffer = PyMem_Malloc(READ_SIZE);
    }
    return state->read_buffer;
#endif
}

static void
release_read_buffer(unsigned char *buffer)
{
#ifdef Py_GIL_DISABLED
    PyMem_Free(buffer);
#else
    (void)buffer;
#endif
}

/* What a read has left for Python: data that is not plain, or a large message that is incomplete; or nothing. */
typedef struct {
    PyObject *data;
    PyObject *large; /* a bytes object that has the size of the whole payload */
    Py_ssize_t received;
    unsigned char header[MAX_HEADER];
    int header_size;
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
        !read_header(data, available, inbox->masked, inbox->max_size, &frame) || frame.opcode != BINARY) {
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

/* Read, and put the messages that are plain into the inbox. Return what recv() returns. */
static Py_ssize_t
plain_path_read(PlainPath *path, State *state, Rest *rest)
{
    unsigned char *buffer = read_buffer_of(state);
    Py_ssize_t size, position = 0;
    int large = 0;

    if (buffer == NULL) {
        errno = ENOMEM;
        return -1;
    }
    size = recv(path->descriptor, buffer, READ_SIZE, 0);
    if (size > 0 && path->records == NULL) {
        position = plain_path_put_frames(path->inbox, buffer, size);
        large = position < size ? plain_path_read_large(path, state, buffer + position, size - position, rest) : 0;
    }
    if (size > 0 && position < size && !large) {
        rest->data = PyBytes_FromStringAndSize((const char *)buffer + position, size - position);
        large = rest->data == NULL ? -1 : 0;
    }
    release_read_buffer(buffer);
    if (large < 0) {
        PyErr_Clear();
        errno = ENOMEM;
        return -1;
    }
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
    Py_ssize_t size = PyBytes_GET_SIZE(data), position = plain_path_put_frames(path->inbox, start, size);

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
    Rest rest = {NULL, NULL, 0, {0}, 0};
    Py_ssize_t size = plain_path_read(path, state, &rest);
    int error = errno;

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

/* -- writing ------------------------------------------------------------------------------------------------------- */

#ifndef _WIN32

/* Hand to Python what the socket did not accept. */
static int
plain_path_write_rest(PlainPath *path, const unsigned char *header, int header_size, PyObject *payload, Py_ssize_t written,
                      int error)
{
    PyObject *bytes = PyUnicode_Check(payload) ? PyUnicode_AsUTF8String(payload) : Py_NewRef(payload), *result = NULL;
    PyObject *pump = Py_XNewRef(path->pump);

    if (bytes != NULL) {
        result = pump == NULL ? Py_NewRef(Py_None) /* detached while the message was encrypted */
                              : PyObject_CallMethod(pump, "write_rest", "y#Oni", header, (Py_ssize_t)header_size, bytes,
                                                    written, error);
        Py_DECREF(bytes);
    }
    Py_XDECREF(pump);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Write a frame to the socket. */
static int
plain_path_write(PlainPath *path, const unsigned char *header, int header_size, PyObject *payload)
{
    unsigned char small[MAX_HEADER + SMALL];
    const char *data;
    Py_ssize_t length, written;
    int error = 0;

    if (PyUnicode_Check(payload)) {
        data = (const char *)PyUnicode_1BYTE_DATA(payload);
        length = PyUnicode_GET_LENGTH(payload);
    }
    else {
        data = PyBytes_AS_STRING(payload);
        length = PyBytes_GET_SIZE(payload);
    }
    if (length <= SMALL) {
        memcpy(small, header, header_size);
        memcpy(small + header_size, data, length);
        written = send(path->descriptor, small, header_size + length, MSG_NOSIGNAL);
    }
    else {
        struct iovec parts[] = {{(void *)header, header_size}, {(void *)data, length}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = header_size > 0 ? 2 : 1};
        if (header_size == 0) {
            parts[0] = parts[1];
        }
        Py_BEGIN_ALLOW_THREADS
        written = sendmsg(path->descriptor, &message, MSG_NOSIGNAL);
        Py_END_ALLOW_THREADS
    }
    if (written < 0) {
        error = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : errno;
        written = 0;
    }
    path->outbox->sent += written;
    return written == header_size + length ? 0
                                           : plain_path_write_rest(path, header, header_size, payload, written, error);
}

/* Tell the pump that a message that was accepted could not be encrypted. */
static int
plain_path_encryption_failed(PlainPath *path)
{
    return PyErr_ExceptionMatches(PyExc_Exception) ? plain_path_tell_pump(path, "writing_failed", take_exception()) : -1;
}

/* Return a frame, encrypted, and steal its reference. */
static PyObject *
plain_path_encrypt(PlainPath *path, PyObject *frame)
{
    State *state = PyType_GetModuleState(Py_TYPE(path));
    PyObject *records = Py_NewRef(path->records), *encrypted;

    encrypted = PyObject_CallMethodOneArg(records, state->encrypt_piece, frame);
    Py_DECREF(frame);
    Py_DECREF(records);
    if (encrypted != NULL && check_bytes(encrypted) < 0) {
        Py_CLEAR(encrypted);
    }
    return encrypted;
}

/* Frame a message and write it to the socket. */
static int
plain_path_send_now(PlainPath *path, int opcode, PyObject *message)
{
    unsigned char header[MAX_HEADER];
    PyObject *payload;
    int failed, size = 0;

    if (path->outbox->new_masking_key != Py_None) {
        payload = new_masked_frame(path->outbox, FIN | opcode, message);
    }
    else if (path->records != NULL) {
        payload = frame_of(FIN | opcode, message, NULL);
    }
    else {
        payload = PyBytes_Check(message) || PyUnicode_IS_COMPACT_ASCII(message) ? Py_NewRef(message)
                                                                                : PyUnicode_AsUTF8String(message);
        if (payload != NULL) {
            Py_ssize_t length = PyBytes_Check(payload) ? PyBytes_GET_SIZE(payload) : PyUnicode_GET_LENGTH(payload);
            size = write_header(header, FIN | opcode, length, NULL);
        }
    }
    if (payload == NULL) {
        return -1;
    }
    path->outbox->budget--;
    if (path->records != NULL && (payload = plain_path_encrypt(path, payload)) == NULL) {
        return plain_path_encryption_failed(path);
    }
    failed = plain_path_write(path, header, size, payload);
    Py_DECREF(payload);
    return failed;
}

#endif

#ifndef _WIN32

/* Return whether a message of this size may be written to the socket before anything else is. */
static int
plain_path_is_direct(const PlainPath *path, Py_ssize_t size)
{
    const FrameQueue *outbox = path->outbox;

    return outbox->is_direct && outbox->size == 0 && !outbox->is_flush_due && path->inbox->messages.count == 0 &&
           path->pump != NULL && (path->records == NULL || size < LARGE);
}

/* Write a frame that is a whole message to the socket. */
static int
plain_path_send_frame_now(PlainPath *path, PyObject *frame)
{
    PyObject *payload = Py_NewRef(frame);
    int failed;

    if (path->records != NULL && (payload = plain_path_encrypt(path, payload)) == NULL) {
        return plain_path_encryption_failed(path);
    }
    failed = plain_path_write(path, (const unsigned char *)"", 0, payload);
    Py_DECREF(payload);
    return failed;
}

#endif

/* Send a prepared frame if messages are accepted; return whether it was sent. */
static PyObject *
plain_path_send_prepared(PyObject *self, PyObject *frame)
{
    PlainPath *path = (PlainPath *)self;
    FrameQueue *outbox = path->outbox;
    int failed;

    if (check_bytes(frame) < 0) {
        return NULL;
    }
    if (outbox == NULL || !frame_queue_has_room(outbox) || outbox->new_masking_key != Py_None) {
        Py_RETURN_FALSE;
    }
    Py_INCREF(self);
#ifndef _WIN32
    if (plain_path_is_direct(path, PyBytes_GET_SIZE(frame))) {
        failed = plain_path_send_frame_now(path, frame);
    }
    else
#endif
        failed = frame_queue_add(outbox, PyBytes_FromObject(frame)) < 0 ? -1 : call_method(path->link, "flush");
    Py_DECREF(self);
    if (failed) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

/* Send a message if that is plain: return 1 if it was sent, 0 if it is not plain, -1 on failure. */
static int
plain_path_send_message(PlainPath *path, PyObject *message)
{
    FrameQueue *outbox = path->outbox;
    int opcode = plain_opcode(outbox, message);

    if (!opcode) {
        return 0;
    }
#ifndef _WIN32
    if (plain_path_is_direct(path, PyObject_Length(message))) {
        return plain_path_send_now(path, opcode, message) < 0 ? -1 : 1;
    }
#endif
    if (frame_queue_add_message(outbox, opcode, message) < 0 ||
        (!outbox->is_flush_due && call_method(path->link, "flush") < 0)) {
        return -1;
    }
    return 1;
}

/* -- Call ---------------------------------------------------------------------------------------------------------- */

static PyObject *
new_call(PyObject *self, Kind kind, PyObject *object)
{
    State *state = PyType_GetModuleState(Py_TYPE(self));
    Call *call = PyObject_GC_New(Call, state->call_type);

    if (call != NULL) {
        call->path = (PlainPath *)Py_NewRef(self);
        call->object = Py_XNewRef(object);
        call->inner = call->outcome = NULL;
        call->kind = kind;
        call->stage = NEW;
        call->has_failed = call->is_running = 0;
        PyObject_GC_Track(call);
    }
    return (PyObject *)call;
}

static PyObject *
plain_path_receive(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return new_call(self, RECEIVE, NULL);
}

static PyObject *
plain_path_next(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return new_call(self, NEXT, NULL);
}

static PyObject *
plain_path_deliver(PyObject *self, PyObject *function)
{
    return new_call(self, DELIVER, function);
}

static PyObject *
plain_path_send_now_if_plain(PyObject *self, PyObject *message)
{
    int sent;

    Py_BEGIN_CRITICAL_SECTION(self);
    sent = ((PlainPath *)self)->inbox == NULL ? 0 : plain_path_send_message((PlainPath *)self, message);
    Py_END_CRITICAL_SECTION();
    return sent < 0 ? NULL : PyBool_FromLong(sent);
}

static PyObject *
plain_path_send(PyObject *self, PyObject *message)
{
    return new_call(self, SEND, message);
}

static PySendResult call_receive(Call *call, PyObject **result);

/* Pass a message to the function; return 1 if it returned something or raised, which is for the task. */
static int
call_deliver(Call *call, PyObject *message)
{
    PyObject *outcome = PyObject_CallOneArg(call->object, message);

    if (outcome == Py_None) {
        Py_DECREF(outcome);
        return 0;
    }
    if (outcome == NULL) {
        outcome = take_exception();
        call->has_failed = 1;
    }
    Py_XSETREF(call->outcome, outcome);
    return 1;
}

/* Return or raise what the function returned or raised. */
static PySendResult
call_end_delivery(Call *call, PyObject **result)
{
    *result = call->outcome;
    call->outcome = NULL;
    if (!call->has_failed) {
        return PYGEN_RETURN;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(*result), *result);
    Py_CLEAR(*result);
    return PYGEN_ERROR;
}

/* Drop the coroutine that does what is not plain. */
static void
call_end_inner(Call *call)
{
    call->stage = DONE;
    Py_CLEAR(call->inner);
}

/* Pass the message that the inner coroutine has returned to the function, steal its reference, and go on. */
static PySendResult
call_deliver_received(Call *call, PyObject **result)
{
    PyObject *message = *result;
    int is_over = call_deliver(call, message);

    *result = NULL;
    Py_DECREF(message);
    return is_over ? call_end_delivery(call, result) : call_receive(call, result);
}

/* Go on with the coroutine that does what is not plain. */
static PySendResult
call_go_on(Call *call, PyObject *value, PyObject **result)
{
    PySendResult sent = PyIter_Send(call->inner, value, result);

    if (sent == PYGEN_NEXT) {
        return sent;
    }
    call_end_inner(call);
    return call->kind == DELIVER && sent == PYGEN_RETURN ? call_deliver_received(call, result) : sent;
}

static PySendResult
call_delegate(Call *call, PyObject **result)
{
    PyObject *to = Py_XNewRef(call->kind == SEND ? call->path->sender : call->path->receiver);
    PySendResult sent;

    if (to == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the connection has been garbage-collected");
        return PYGEN_ERROR;
    }
    call->inner = call->kind == SEND ? PyObject_CallMethod(to, "send", "OOO", call->object, Py_None, Py_None)
                                     : PyObject_CallMethod(to, call->kind == NEXT ? "next" : "receive", NULL);
    Py_DECREF(to);
    if (call->inner == NULL || Py_EnterRecursiveCall(" while waiting for a message")) {
        return PYGEN_ERROR;
    }
    call->stage = DELEGATED;
    sent = call_go_on(call, Py_None, result);
    Py_LeaveRecursiveCall();
    return sent;
}

static int
plain_path_may_wait(const PlainPath *path)
{
    return path->inbox->is_open && !path->inbox->is_paused && path->signal != NULL;
}

/* Give back the right to receive. */
static void
call_release(Call *call)
{
    Py_BEGIN_CRITICAL_SECTION(call->path);
    if (call->stage == WAITING && call->path->inbox != NULL) {
        call->path->inbox->is_receiving = call->path->inbox->receiver_waits = 0;
    }
    if (call->path->delivery == call) {
        call->path->delivery = NULL;
    }
    call->stage = DONE;
    Py_END_CRITICAL_SECTION();
}

/* Remove the oldest message, for the call that has the right to receive; return NULL without an error if there is none. */
static PyObject *
call_take(PlainPath *path)
{
    PyObject *message;

    Py_BEGIN_CRITICAL_SECTION(path->inbox);
    message = message_queue_pop(path->inbox);
    path->inbox->budget -= message != NULL;
    Py_END_CRITICAL_SECTION();
    return message;
}

/* Deliver messages to the function while there are any, at most as many as the budget allows. Return 0 if all were
 * delivered, 1 if there is an outcome for the task, 2 if other tasks must run first, and -1 on failure. */
static int
call_deliver_all(Call *call)
{
    PlainPath *path = call->path;
    PyObject *message;
    int is_over;

    while (path->inbox->messages.count > 0) {
        if (path->inbox->budget <= 0) {
            return 2;
        }
        message = call_take(path);
        if (message == NULL) {
            return 0;
        }
        is_over = path->inbox->is_paused && call_method(path->link, "resume_reading") < 0 ? -1
                                                                                         : call_deliver(call, message);
        Py_DECREF(message);
        if (is_over || path->inbox == NULL) {
            return is_over;
        }
    }
    return 0;
}

/* Deliver messages outside the task, but in its context. */
static int
call_deliver_now(Call *call)
{
    PlainPath *path = (PlainPath *)Py_NewRef(call->path);
    PyObject *context;
    int done = -1;

    Py_BEGIN_CRITICAL_SECTION(path->signal);
    context = Py_XNewRef(path->signal->context);
    Py_END_CRITICAL_SECTION();
    Py_INCREF(call);
    if (context == NULL) { /* another thread has woken the task */
        done = 0;
    }
    else if (PyContext_Enter(context) == 0) {
        path->inbox->budget = path->outbox->budget = path->budget;
        done = call_deliver_all(call);
        if (PyContext_Exit(context) < 0) {
            done = -1;
        }
    }
    if (done >= 0 && path->outbox->is_flush_due && path->pump != NULL && call_method(path->pump, "flush") < 0) {
        done = -1;
    }
    if (done > 0 && path->signal != NULL) { /* the task goes on, after the others if the budget is used up */
        path->signal->is_set = 1;
        done = done == 1 ? signal_run(path->signal) : signal_call_soon(path->signal);
    }
    Py_DECREF(call);
    Py_XDECREF(context);
    Py_DECREF(path);
    return done < 0 ? -1 : 0;
}

/* Return a message that was taken from the inbox. */
static PySendResult
call_took(Call *call, PyObject *message, PyObject **result)
{
    PlainPath *path = call->path;

    call_release(call);
    if (path->inbox->is_paused && call_method(path->link, "resume_reading") < 0) {
        Py_DECREF(message);
        return PYGEN_ERROR;
    }
    *result = message;
    return PYGEN_RETURN;
}

/* Let other tasks run, and go on. */
static PySendResult
call_yield(Call *call, PyObject **result)
{
    Signal *signal = call->path->signal;

    signal->is_set = signal->is_blocking = 1;
    *result = Py_NewRef((PyObject *)signal);
    return PYGEN_NEXT;
}

static PySendResult
call_wait(Call *call, PyObject **result)
{
    PlainPath *path = call->path;
    PyObject *message;

    if (call->outcome != NULL) { /* even if the connection is over */
        if (path->signal != NULL) {
            path->signal->is_set = 0;
        }
        call_release(call);
        return call_end_delivery(call, result);
    }
    do {
        if (path->signal == NULL || path->inbox == NULL) {
            break;
        }
        if (signal_send((PyObject *)path->signal, Py_None, result) == PYGEN_NEXT) {
            call->stage = WAITING;
            path->delivery = call->kind == DELIVER ? call : NULL;
            return PYGEN_NEXT;
        }
        Py_CLEAR(*result);
        path->inbox->budget = path->outbox->budget = path->budget; /* other tasks had their turn */
        if (call->kind == DELIVER) {
            int done = call_deliver_all(call);
            if (done == 2 && path->signal != NULL) {
                return call_yield(call, result);
            }
            if (done == 1 || done < 0) {
                call_release(call);
                return done < 0 ? PYGEN_ERROR : call_end_delivery(call, result);
            }
        }
        else if ((message = call_take(path)) != NULL) {
            return call_took(call, message, result);
        }
    } while (plain_path_may_wait(path));
    call_release(call);
    return call_delegate(call, result);
}

static PySendResult
call_receive(Call *call, PyObject **result)
{
    PlainPath *path = call->path;
    MessageQueue *inbox = path->inbox;
    PyObject *message;

    if (call->kind == DELIVER) {
        int done = inbox->is_receiving || inbox->is_reserved ? 0 : call_deliver_all(call);
        if (done == 1) {
            return call_end_delivery(call, result);
        }
        if (done < 0) {
            return PYGEN_ERROR;
        }
    }
    else if ((message = message_queue_pop_now(inbox)) != NULL) {
        return call_took(call, message, result);
    }
    if (path->outbox->is_flush_due && path->pump != NULL && call_method(path->pump, "flush") < 0) {
        return PYGEN_ERROR;
    }
    if (inbox->is_receiving || inbox->is_reserved || inbox->budget <= 0 || inbox->messages.count > 0 ||
        !plain_path_may_wait(path)) {
        return call_delegate(call, result);
    }
    inbox->is_receiving = inbox->receiver_waits = 1;
    inbox->wants_pieces = 0;
    inbox->budget = path->outbox->budget = path->budget;
    call->stage = WAITING;
    return call_wait(call, result);
}

static PySendResult
call_begin(Call *call, PyObject **result)
{
    int sent;

    if (call->path->inbox == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the connection has been garbage-collected");
        return PYGEN_ERROR;
    }
    if (call->kind != SEND) {
        return call_receive(call, result);
    }
    sent = plain_path_send_message(call->path, call->object);
    if (sent == 0) {
        return call_delegate(call, result);
    }
    if (sent < 0) {
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

/* Note that the call is running; on failure, return -1 and set an error. */
static int
call_enter(Call *call)
{
    if (call->is_running) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    call->is_running = 1;
    return 0;
}

static PySendResult
call_step(Call *call, PyObject *value, PyObject **result)
{
    switch ((Stage)call->stage) {
    case NEW:
        call->stage = DONE;
        return call_begin(call, result);
    case WAITING:
        return call_wait(call, result);
    case DELEGATED:
        return call_go_on(call, value, result);
    case DONE:
        break;
    }
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return PYGEN_ERROR;
}

static PySendResult
call_resume(PyObject *self, PyObject *value, PyObject **result)
{
    Call *call = (Call *)self;
    PySendResult sent;

    *result = NULL;
    if (call_enter(call) < 0) {
        return PYGEN_ERROR;
    }
    Py_BEGIN_CRITICAL_SECTION(call->path);
    sent = call_step(call, value, result);
    Py_END_CRITICAL_SECTION();
    call->is_running = 0;
    return sent;
}

/* -- Call as a coroutine ------------------------------------------------------------------------------------------- */

/* Return what was yielded, or raise StopIteration with the result. */
static PyObject *
yielded(PySendResult sent, PyObject *result)
{
    PyObject *stop;

    if (sent != PYGEN_RETURN) {
        return result;
    }
    stop = PyObject_CallOneArg(PyExc_StopIteration, result); /* PyErr_SetObject() would unpack a tuple */
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    Py_DECREF(result);
    return NULL;
}

static PyObject *
call_iter_next(PyObject *self)
{
    PyObject *result;
    PySendResult sent = call_resume(self, Py_None, &result);

    return yielded(sent, result);
}

static PyObject *
call_send(PyObject *self, PyObject *value)
{
    PyObject *result;
    PySendResult sent = call_resume(self, value, &result);

    return yielded(sent, result);
}

/* Throw an exception into the inner coroutine. */
static PySendResult
call_throw_into_inner(Call *call, PyObject *arguments, PyObject **result)
{
    PyObject *throw = PyObject_GetAttrString(call->inner, "throw");

    *result = throw == NULL ? NULL : PyObject_Call(throw, arguments, NULL);
    Py_XDECREF(throw);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    call_end_inner(call);
    /* On trio, what wakes a waiting task is an exception, so a message may be the result. */
    if (call->kind == DELIVER && PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyObject *stop = take_exception();
        *result = PyObject_GetAttrString(stop, "value");
        Py_DECREF(stop);
        return *result == NULL ? PYGEN_ERROR : call_deliver_received(call, result);
    }
    return PYGEN_ERROR;
}

/* Raise the exception given as arguments for `throw`. */
static void
raise_thrown(PyObject *arguments)
{
    PyObject *type, *value = NULL, *traceback = NULL;

    if (!PyArg_ParseTuple(arguments, "O|OO:throw", &type, &value, &traceback)) {
        return;
    }
    if (PyExceptionInstance_Check(type)) {
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    }
    else if (PyExceptionClass_Check(type)) {
        PyErr_SetObject(type, value);
    }
    else {
        PyErr_Format(PyExc_TypeError, "expected an exception, not %.100s", Py_TYPE(type)->tp_name);
    }
}

static PyObject *
call_throw(PyObject *self, PyObject *arguments)
{
    Call *call = (Call *)self;
    PyObject *result = NULL;
    PySendResult sent = PYGEN_ERROR;

    if (call_enter(call) < 0) {
        return NULL;
    }
    if (call->stage == DELEGATED) {
        sent = call_throw_into_inner(call, arguments, &result);
    }
    else if (call->stage == DONE) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    }
    else {
        call_release(call);
        if (call->outcome != NULL && call->has_failed) { /* what the function raised is never lost */
            sent = call_end_delivery(call, &result);
        }
        else {
            raise_thrown(arguments);
        }
    }
    call->is_running = 0;
    return yielded(sent, result);
}

static PyObject *
call_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Call *call = (Call *)self;
    PyObject *result;

    if (call_enter(call) < 0) {
        return NULL;
    }
    if (call->stage == DELEGATED) {
        result = PyObject_CallMethod(call->inner, "close", NULL);
        call_end_inner(call);
    }
    else {
        call_release(call);
        result = Py_NewRef(Py_None);
    }
    call->is_running = 0;
    return result;
}

static PyObject *
call_iter(PyObject *self)
{
    return Py_NewRef(self);
}

static PyObject *
call_await(PyObject *self)
{
    Call *call = (Call *)self;

    if (call->stage == WAITING || call->stage == DELEGATED) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(self);
}

static PyObject *
call_name(PyObject *self, void *prefix)
{
    return PyUnicode_FromFormat("%s%s", (const char *)prefix, call_names[(int)((Call *)self)->kind]);
}

static int
call_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Call *)self)->path);
    Py_VISIT(((Call *)self)->object);
    Py_VISIT(((Call *)self)->outcome);
    Py_VISIT(((Call *)self)->inner);
    return 0;
}

/* The path is kept: a call that is dropped while it waits gives back the right to receive. */
static int
call_forget(PyObject *self)
{
    Py_CLEAR(((Call *)self)->object);
    Py_CLEAR(((Call *)self)->outcome);
    Py_CLEAR(((Call *)self)->inner);
    return 0;
}

/* Warn, like a coroutine, that the call was never awaited. */
static void
call_finalize(PyObject *self)
{
    Call *call = (Call *)self;

    if (call->stage == NEW) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine 'WebSocket.%s' was never awaited",
                             call_names[(int)call->kind]) < 0) {
            PyErr_WriteUnraisable(self);
        }
        PyErr_Restore(type, value, traceback);
    }
    call_release(call);
}

static void
call_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    if (((Call *)self)->stage != DONE && PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, call_dealloc)
    call_forget(self);
    Py_CLEAR(((Call *)self)->path);
    PyObject_GC_Del(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyMethodDef call_methods[] = {
    {"send", call_send, METH_O, "send(value, /)\n--\n\nResume the call."},
    {"throw", call_throw, METH_VARARGS, "throw(exception, /)\n--\n\nRaise an exception in the call."},
    {"close", call_close, METH_NOARGS, "close()\n--\n\nAbandon the call."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef call_properties[] = {
    {"__name__", call_name, NULL, NULL, ""},
    {"__qualname__", call_name, NULL, NULL, "WebSocket."},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot call_slots[] = {
    {Py_tp_doc, "A call of `PlainPath`, to be awaited once."},
    {Py_tp_dealloc, call_dealloc},
    {Py_tp_finalize, call_finalize},
    {Py_tp_traverse, call_traverse},
    {Py_tp_clear, call_forget},
    {Py_tp_iter, call_iter},
    {Py_tp_iternext, call_iter_next},
    {Py_am_await, call_await},
    {Py_am_send, call_resume},
    {Py_tp_methods, call_methods},
    {Py_tp_getset, call_properties},
    {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "anyws.protocol._speedups.Call",
    .basicsize = sizeof(Call),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = call_slots,
};

static PyMethodDef plain_path_methods[] = {
    {"attach", plain_path_attach, METH_VARARGS, "attach(pump, keepalive, now, signal, descriptor, /)\n--\n\nUse a socket."},
    {"detach", plain_path_detach, METH_NOARGS, "detach()\n--\n\nForget the socket."},
    {"on_readable", plain_path_on_readable, METH_NOARGS, "on_readable()\n--\n\nRead once, without waiting."},
    {"receive", plain_path_receive, METH_NOARGS, "receive()\n--\n\nWait for the next message."},
    {"next", plain_path_next, METH_NOARGS, "next()\n--\n\nWait for the next message; stop at a normal closure."},
    {"deliver", plain_path_deliver, METH_O,
     "deliver(function, /)\n--\n\nPass each message to a function until it returns something; return that."},
    {"send", plain_path_send, METH_O, "send(message, /)\n--\n\nSend a message."},
    {"send_prepared", plain_path_send_prepared, METH_O,
     "send_prepared(frame, /)\n--\n\nSend a frame that is a whole message if messages are accepted; return whether it "
     "was sent."},
    {"send_now", plain_path_send_now_if_plain, METH_O,
     "send_now(message, /)\n--\n\nSend a message if that is plain; return whether it was sent."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef plain_path_members[] = {
    {"receiver", T_OBJECT, offsetof(PlainPath, receiver), 0, NULL},
    {"sender", T_OBJECT, offsetof(PlainPath, sender), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot plain_path_slots[] = {
    {Py_tp_doc, "Receives and sends plain messages directly on the socket."},
    {Py_tp_new, plain_path_new},
    {Py_tp_dealloc, plain_path_dealloc},
    {Py_tp_traverse, plain_path_traverse},
    {Py_tp_clear, plain_path_forget},
    {Py_tp_methods, plain_path_methods},
    {Py_tp_members, plain_path_members},
    {0, NULL},
};

static PyType_Spec plain_path_spec = {
    .name = "anyws.protocol._speedups.PlainPath",
    .basicsize = sizeof(PlainPath),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = plain_path_slots,
};

#endif
