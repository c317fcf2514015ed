/* Writing on the plain path: a message that nothing precedes goes to the socket directly. */

#ifndef ANYWS_PLAIN_WRITE_H
#define ANYWS_PLAIN_WRITE_H

#include "_plain_path.h"

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
    if (path->outbox->gathers) {
        path->outbox->is_direct = 0;
    }
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

/* Encrypt a frame if TLS is used, write it to the socket, and steal the reference to the payload. */
static int
plain_path_write_frame(PlainPath *path, const unsigned char *header, int header_size, PyObject *payload)
{
    int failed;

    if (path->records != NULL && (payload = plain_path_encrypt(path, payload)) == NULL) {
        return plain_path_encryption_failed(path);
    }
    failed = plain_path_write(path, header, header_size, payload);
    Py_DECREF(payload);
    return failed;
}

/* Frame a message and write it to the socket. */
static int
plain_path_send_now(PlainPath *path, int opcode, PyObject *message)
{
    unsigned char header[MAX_HEADER];
    PyObject *payload;
    int size = 0;

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
    if (size > 0) {
        Py_ssize_t length = PyBytes_Check(payload) ? PyBytes_GET_SIZE(payload) : PyUnicode_GET_LENGTH(payload);
        frame_queue_count(path->outbox, FIN | opcode, size + length);
    }
    else {
        frame_queue_count_frame(path->outbox, payload);
    }
    return plain_path_write_frame(path, header, size, payload);
}

/* Write the only frame in the queue to the socket. */
static int
plain_path_write_queued(PlainPath *path)
{
    FrameQueue *outbox = path->outbox;
    PyObject *frame;
    int failed;

    Py_BEGIN_CRITICAL_SECTION(outbox);
    frame = queue_pop(&outbox->frames);
    outbox->size -= length_of(frame);
    Py_END_CRITICAL_SECTION();
    if (PyBytes_Check(frame)) {
        return plain_path_write_frame(path, (const unsigned char *)"", 0, frame);
    }
    failed = plain_path_write_frame(path, (const unsigned char *)PyBytes_AS_STRING(PyTuple_GET_ITEM(frame, 0)),
                                    (int)PyBytes_GET_SIZE(PyTuple_GET_ITEM(frame, 0)),
                                    Py_NewRef(PyTuple_GET_ITEM(frame, 1)));
    Py_DECREF(frame);
    return failed;
}

/* Return whether a message of this size may be written to the socket before anything else is. */
static int
plain_path_is_direct(const PlainPath *path, Py_ssize_t size)
{
    const FrameQueue *outbox = path->outbox;

    return outbox->is_direct && outbox->size == 0 && !outbox->is_flush_due && path->inbox->messages.count == 0 &&
           path->pump != NULL && (path->records == NULL || size < LARGE);
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
        frame_queue_count_frame(outbox, frame);
        failed = plain_path_write_frame(path, (const unsigned char *)"", 0, Py_NewRef(frame));
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

/* Let an extension transform a message and the core queue its frame; write that directly if nothing precedes it. */
static int
plain_path_send_encoded(PlainPath *path, PyObject *message)
{
    FrameQueue *outbox = path->outbox;
    PyObject *encode = Py_NewRef(path->encode), *result;
#ifndef _WIN32
    int is_direct = plain_path_is_direct(path, 0);
#endif

    result = PyObject_CallOneArg(encode, message);
    Py_DECREF(encode);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    outbox->budget--;
    if (outbox->size >= BATCH) {
        outbox->is_flush_due = 0;
    }
#ifndef _WIN32
    /* An extension may have run other code, so check again. */
    if (is_direct && outbox->frames.count == 1 && outbox->is_direct && !outbox->is_flush_due && path->pump != NULL &&
        outbox->size == length_of(outbox->frames.items[outbox->frames.head]) &&
        (path->records == NULL || outbox->size < LARGE)) {
        return plain_path_write_queued(path);
    }
#endif
    return outbox->is_flush_due ? 0 : call_method(path->link, "flush");
}

/* Send a message if that is plain: return 1 if it was sent, 0 if it is not plain, -1 on failure. */
static int
plain_path_send_message(PlainPath *path, PyObject *message)
{
    FrameQueue *outbox = path->outbox;
    int opcode = frame_queue_opcode(outbox, message);

    if (!opcode || (!outbox->is_plain && (path->encode == NULL || path->encode == Py_None))) {
        return 0;
    }
    if (!outbox->is_plain) {
        return plain_path_send_encoded(path, message) < 0 ? -1 : 1;
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

#endif
