/* Encoding and decoding of frames and messages (RFC 6455, sections 5.2, 5.3, 5.6). */

#ifndef ANYWS_FRAMES_H
#define ANYWS_FRAMES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef Py_BEGIN_CRITICAL_SECTION /* before Python 3.13 */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

enum { FIN = 0x80, MASK = 0x80, RSV = 0x70, CONTROL = 0x8, TEXT = 0x1, BINARY = 0x2 };
enum { MAX_HEADER = 14, KEY_LENGTH = 4 };

/* -- masking (section 5.3) ----------------------------------------------------------------------------------------- */

/* Copy bytes and XOR them with the repeated key; return whether the result is ASCII. */
static int
copy_masked(unsigned char *to, const unsigned char *from, Py_ssize_t length, const unsigned char key[KEY_LENGTH])
{
    const uint64_t high_bits = 0x8080808080808080;
    uint64_t mask, seen = 0;
    Py_ssize_t at = 0;

    memcpy(&mask, key, KEY_LENGTH);
    memcpy((unsigned char *)&mask + KEY_LENGTH, key, KEY_LENGTH);
    for (; at <= length - 8; at += 8) { /* the compiler vectorizes this loop */
        uint64_t word;
        memcpy(&word, from + at, 8);
        word ^= mask;
        seen |= word;
        memcpy(to + at, &word, 8);
    }
    for (; at < length; at++) {
        to[at] = from[at] ^ key[at % KEY_LENGTH];
        seen |= to[at];
    }
    return !(seen & high_bits);
}

/* Copy bytes, and mask them if there is a key. */
static void
copy(char *to, const char *from, Py_ssize_t length, const unsigned char *key)
{
    if (key == NULL) {
        if (length > 0) { /* the address of an empty buffer may be NULL */
            memcpy(to, from, length);
        }
    }
    else {
        copy_masked((unsigned char *)to, (const unsigned char *)from, length, key);
    }
}

static int
check_count(const char *name, Py_ssize_t count, Py_ssize_t expected)
{
    if (count != expected) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, %zd were given", name, expected, count);
        return -1;
    }
    return 0;
}

static int
check_no_keywords(const char *name, PyObject *keywords)
{
    if (keywords != NULL && PyDict_GET_SIZE(keywords) > 0) {
        PyErr_Format(PyExc_TypeError, "%s() takes no keyword arguments", name);
        return -1;
    }
    return 0;
}

static int
check_bytes(PyObject *object)
{
    if (!PyBytes_Check(object)) {
        PyErr_Format(PyExc_TypeError, "expected bytes, not %.100s", Py_TYPE(object)->tp_name);
        return -1;
    }
    return 0;
}

/* Get the masking key, or NULL if it is empty. Return -1 and set an error if it is neither empty nor a valid key. */
static int
read_key(PyObject *object, const unsigned char **key)
{
    if (check_bytes(object) < 0) {
        return -1;
    }
    if (PyBytes_GET_SIZE(object) != 0 && PyBytes_GET_SIZE(object) != KEY_LENGTH) {
        PyErr_Format(PyExc_ValueError, "masking key of %zd bytes, expected 4 (RFC 6455, section 5.3)",
                     PyBytes_GET_SIZE(object));
        return -1;
    }
    *key = PyBytes_GET_SIZE(object) == 0 ? NULL : (const unsigned char *)PyBytes_AS_STRING(object);
    return 0;
}

/* -- reading messages of one frame (sections 5.2 and 5.6) ---------------------------------------------------------- */

typedef struct {
    int opcode, is_encoded;   /* whether the reserved bits of the extension are set */
    const unsigned char *key; /* NULL if not masked */
    const unsigned char *payload;
    Py_ssize_t length; /* of the payload */
    Py_ssize_t size;   /* of the frame */
} Frame;

/* Read the header at the beginning of the data. Return 0 unless it is complete, and the frame is a valid message in a
 * single frame, within the size limit and without reserved bits, except that all those in `rsv` may be set. The payload
 * may be incomplete. */
static int
read_header(const unsigned char *data, Py_ssize_t available, int masked, Py_ssize_t max_size, int rsv, Frame *frame)
{
    uint64_t length;
    Py_ssize_t position = 2;
    int has_key, extended, first;

    if (available < 2 || max_size < 0) {
        return 0;
    }
    frame->is_encoded = rsv && (data[0] & rsv) == rsv;
    first = frame->is_encoded ? data[0] ^ rsv : data[0];
    if (first != (FIN | TEXT) && first != (FIN | BINARY)) {
        return 0;
    }
    has_key = (data[1] & MASK) != 0;
    if (masked >= 0 && has_key != masked) {
        return 0;
    }
    length = data[1] & 0x7F;
    extended = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (available < position + extended + (has_key ? KEY_LENGTH : 0)) {
        return 0;
    }
    if (extended) {
        length = 0;
        for (int i = 0; i < extended; i++) {
            length = length << 8 | data[position++];
        }
        if (length < (extended == 2 ? 126 : 65536)) {
            return 0;
        }
    }
    frame->key = has_key ? data + position : NULL;
    position += has_key ? KEY_LENGTH : 0;
    if (length > (uint64_t)max_size || length > (uint64_t)(PY_SSIZE_T_MAX - position)) {
        return 0;
    }
    frame->opcode = data[0] & 0x0F;
    frame->payload = data + position;
    frame->length = (Py_ssize_t)length;
    frame->size = position + frame->length;
    return 1;
}

/* Read the frame at the beginning of the data, if it is complete; otherwise like `read_header`. */
static int
read_frame(const unsigned char *data, Py_ssize_t available, int masked, Py_ssize_t max_size, int rsv, Frame *frame)
{
    return read_header(data, available, masked, max_size, rsv, frame) && frame->size <= available;
}

/* Return the text of a frame. */
static PyObject *
new_text(const Frame *frame)
{
    PyObject *text, *decoded;

    if (frame->key == NULL) {
        return PyUnicode_DecodeUTF8((const char *)frame->payload, frame->length, NULL);
    }
    /* Most text is ASCII, so unmask it directly into the string. If it is not, decode it from there. */
    text = PyUnicode_New(frame->length, 0x7F);
    if (text == NULL || copy_masked(PyUnicode_1BYTE_DATA(text), frame->payload, frame->length, frame->key)) {
        return text;
    }
    decoded = PyUnicode_DecodeUTF8((const char *)PyUnicode_1BYTE_DATA(text), frame->length, NULL);
    Py_DECREF(text);
    return decoded;
}

static PyObject *
new_binary(const Frame *frame)
{
    PyObject *binary = PyBytes_FromStringAndSize(NULL, frame->length);

    if (binary != NULL) {
        copy(PyBytes_AS_STRING(binary), (const char *)frame->payload, frame->length, frame->key);
    }
    return binary;
}

/* Return the memory that a message uses as reported by sys.getsizeof(), but without a cached UTF-8 representation. */
static Py_ssize_t
memory_of(PyObject *message)
{
    if (PyBytes_Check(message)) {
        return (Py_ssize_t)offsetof(PyBytesObject, ob_sval) + PyBytes_GET_SIZE(message) + 1;
    }
    return (Py_ssize_t)(PyUnicode_IS_ASCII(message) ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject)) +
           (PyUnicode_GET_LENGTH(message) + 1) * PyUnicode_KIND(message);
}

/* A function that adds a message to a container without stealing the reference, or returns -1. */
typedef int (*Append)(void *messages, PyObject *message);

/* Restore the message of a frame that an extension has transformed. Return NULL without an error if that is not
 * possible; set `has_failed` if an error was raised when the extension had seen the frame, so that it cannot be decoded
 * again. */
static PyObject *
decoded(const Frame *frame, PyObject *decode, int *has_failed)
{
    PyObject *opcode = PyLong_FromLong(frame->opcode), *payload = new_binary(frame), *message = NULL;

    if (opcode != NULL && payload != NULL) {
        message = PyObject_CallFunctionObjArgs(decode, opcode, payload, NULL);
        *has_failed = message == NULL;
    }
    Py_XDECREF(opcode);
    Py_XDECREF(payload);
    if (message == Py_None) {
        Py_CLEAR(message);
    }
    else if (message != NULL && !PyBytes_Check(message) && !PyUnicode_Check(message)) {
        PyErr_Format(PyExc_TypeError, "an extension has restored %.100s, expected bytes", Py_TYPE(message)->tp_name);
        Py_CLEAR(message);
        *has_failed = 1;
    }
    return message;
}

/* Append the messages and advance the position past them. Stop at the first one that cannot be appended for any reason,
 * including lack of memory: the frame decoder then raises the error, or accepts the message after all. Return -1 if
 * that is not possible, because an extension has failed or seen the message. */
static int
append_messages(const unsigned char *data, Py_ssize_t size, Py_ssize_t *position, int masked, Py_ssize_t max_size,
                Py_ssize_t *room, Append append, void *messages, int rsv, PyObject *decode)
{
    Frame frame;
    int has_failed = 0;

    while (read_frame(data + *position, size - *position, masked, max_size, rsv, &frame)) {
        PyObject *message = frame.is_encoded       ? decoded(&frame, decode, &has_failed)
                            : frame.opcode == TEXT ? new_text(&frame)
                                                   : new_binary(&frame);
        if (message == NULL || append(messages, message) < 0) {
            has_failed = has_failed || (message != NULL && frame.is_encoded);
            Py_XDECREF(message);
            if (!has_failed) {
                PyErr_Clear();
            }
            return has_failed ? -1 : 0;
        }
        *position += frame.size;
        *room -= memory_of(message);
        Py_DECREF(message);
        if (*room <= 0) {
            break;
        }
    }
    return 0;
}

/* Check the arguments for `rsv` and `decode`; return -1 and set an error if they are wrong. */
static int
read_decoder(PyObject *rsv, PyObject *decode)
{
    long bits = PyLong_AsLong(rsv);

    if (bits == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (bits & ~RSV || (bits && decode == Py_None)) {
        PyErr_Format(PyExc_ValueError, "reserved bits 0x%lX: expected bits within 0x70, and a function for them", bits);
        return -1;
    }
    return (int)bits;
}

/* -- writing frames (section 5.2) ---------------------------------------------------------------------------------- */

/* Write everything before the payload, including the masking key; return its size. */
static int
write_header(unsigned char header[MAX_HEADER], int first, Py_ssize_t length, const unsigned char *key)
{
    int extended = length < 126 ? 0 : length < 65536 ? 2 : 8;
    int size = 2 + extended;

    header[0] = (unsigned char)first;
    header[1] = (unsigned char)((key == NULL ? 0 : MASK) | (extended == 0 ? length : extended == 2 ? 126 : 127));
    for (int i = 0; i < extended; i++) {
        header[2 + i] = (unsigned char)((uint64_t)length >> 8 * (extended - 1 - i));
    }
    if (key != NULL) {
        memcpy(header + size, key, KEY_LENGTH);
        size += KEY_LENGTH;
    }
    return size;
}

static PyObject *
new_frame(int first, const char *payload, Py_ssize_t length, const unsigned char *key)
{
    unsigned char header[MAX_HEADER];
    int size = write_header(header, first, length, key);
    PyObject *frame;

    if (length > PY_SSIZE_T_MAX - size) {
        return PyErr_NoMemory();
    }
    frame = PyBytes_FromStringAndSize(NULL, size + length);
    if (frame != NULL) {
        memcpy(PyBytes_AS_STRING(frame), header, size);
        copy(PyBytes_AS_STRING(frame) + size, payload, length, key);
    }
    return frame;
}

/* Return the frame for a payload. Text is encoded as UTF-8. */
static PyObject *
frame_of(int first, PyObject *object, const unsigned char *key)
{
    Py_buffer payload;
    PyObject *frame, *encoded = NULL;

    if (PyUnicode_Check(object)) {
        if (PyUnicode_IS_COMPACT_ASCII(object)) {
            return new_frame(first, (const char *)PyUnicode_1BYTE_DATA(object), PyUnicode_GET_LENGTH(object), key);
        }
        encoded = PyUnicode_AsUTF8String(object); /* not AsUTF8, which caches the result in the string */
        if (encoded == NULL) {
            return NULL;
        }
    }
    if (PyObject_GetBuffer(encoded == NULL ? object : encoded, &payload, PyBUF_SIMPLE) < 0) {
        return NULL; /* cannot happen for `encoded`, which is bytes, so there is nothing to release */
    }
    frame = new_frame(first, payload.buf, payload.len, key);
    PyBuffer_Release(&payload);
    Py_XDECREF(encoded);
    return frame;
}

/* Read the first byte of a frame; return -1 and set an error if it is out of range. */
static int
read_first(PyObject *object)
{
    long first = PyLong_AsLong(object);

    if (first < 0 || first > 255) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_ValueError, "first byte of a frame is %ld, expected 0 to 255", first);
        }
        return -1;
    }
    return (int)first;
}

/* Convert True, False and None: frames must be masked (1), must not be (0), or may be (-1). */
static int
read_masked(PyObject *object)
{
    return object == Py_None ? -1 : object == Py_True;
}

#endif
