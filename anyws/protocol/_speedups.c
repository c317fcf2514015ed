/* The compiled twin of _pure.py: the inner loops over bytes (RFC 6455, 5.2, 5.3, 5.6).
 *
 * The rule of this file: it does what _pure.py does, with the same arguments and results, and decides nothing that is
 * not decided there. There is no state but in the Payload objects, so each interpreter can have its own GIL, or none.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef Py_BEGIN_CRITICAL_SECTION /* before Python 3.13 */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

enum { FIN = 0x80, MASK = 0x80, TEXT = 0x1, BINARY = 0x2 };
enum { MAX_HEADER = 14, KEY_LENGTH = 4 };

/* -- masking (5.3) ------------------------------------------------------------------------------------------------- */

/* Copy bytes, each XORed with the key in its turn; return whether what comes out is ASCII. */
static int
copy_masked(unsigned char *to, const unsigned char *from, Py_ssize_t length, const unsigned char key[KEY_LENGTH])
{
    const uint64_t high_bits = 0x8080808080808080;
    uint64_t mask, seen = 0;
    Py_ssize_t at = 0;

    memcpy(&mask, key, KEY_LENGTH);
    memcpy((unsigned char *)&mask + KEY_LENGTH, key, KEY_LENGTH);
    for (; at <= length - 8; at += 8) { /* the compiler makes vectors of it */
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

/* Copy bytes, masked if there is a key. */
static void
copy(char *to, const char *from, Py_ssize_t length, const unsigned char *key)
{
    if (key == NULL) {
        memcpy(to, from, length);
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
check_bytes(PyObject *object)
{
    if (!PyBytes_Check(object)) {
        PyErr_Format(PyExc_TypeError, "expected bytes, not %.100s", Py_TYPE(object)->tp_name);
        return -1;
    }
    return 0;
}

/* Point to a masking key; to NULL for the empty one. Return -1 and set an error if it is neither empty nor a key. */
static int
read_key(PyObject *object, const unsigned char **key)
{
    if (check_bytes(object) < 0) {
        return -1;
    }
    if (PyBytes_GET_SIZE(object) != 0 && PyBytes_GET_SIZE(object) != KEY_LENGTH) {
        PyErr_Format(PyExc_ValueError, "masking key of %zd bytes, expected 4 (5.3)", PyBytes_GET_SIZE(object));
        return -1;
    }
    *key = PyBytes_GET_SIZE(object) == 0 ? NULL : (const unsigned char *)PyBytes_AS_STRING(object);
    return 0;
}

static PyObject *
apply_mask(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    const unsigned char *key;
    Py_buffer data;
    PyObject *masked;

    if (check_count("apply_mask", count, 2) < 0 || read_key(arguments[1], &key) < 0) {
        return NULL;
    }
    if (key == NULL) {
        return PyErr_Format(PyExc_ValueError, "masking key of 0 bytes, expected 4 (5.3)");
    }
    if (PyObject_GetBuffer(arguments[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    masked = PyBytes_FromStringAndSize(NULL, data.len);
    if (masked != NULL) {
        copy(PyBytes_AS_STRING(masked), data.buf, data.len, key);
    }
    PyBuffer_Release(&data);
    return masked;
}

/* -- reading messages of one frame (5.2, 5.6) ---------------------------------------------------------------------- */

typedef struct {
    int opcode;
    const unsigned char *key; /* NULL: not masked */
    const unsigned char *payload;
    Py_ssize_t length; /* of the payload */
    Py_ssize_t size;   /* of the frame */
} Frame;

/* Read the frame at the beginning of the data; return 0 if it is not whole, plain, valid and within the size. */
static int
read_frame(const unsigned char *data, Py_ssize_t available, int masked, Py_ssize_t max_size, Frame *frame)
{
    uint64_t length;
    Py_ssize_t position = 2;
    int has_key, extended;

    if (available < 2 || max_size < 0 || (data[0] != (FIN | TEXT) && data[0] != (FIN | BINARY))) {
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
    if (length > (uint64_t)(available - position) || length > (uint64_t)max_size) {
        return 0;
    }
    frame->opcode = data[0] & 0x0F;
    frame->payload = data + position;
    frame->length = (Py_ssize_t)length;
    frame->size = position + frame->length;
    return 1;
}

/* Return the text of a frame. */
static PyObject *
new_text(const Frame *frame)
{
    PyObject *text, *decoded;

    if (frame->key == NULL) {
        return PyUnicode_DecodeUTF8((const char *)frame->payload, frame->length, NULL);
    }
    /* Most text is ASCII: unmask it straight to where it stays. Any other is decoded from there. */
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

/* The memory that a message fills, as sys.getsizeof() tells, without UTF-8 that is kept beside a shared text. */
static Py_ssize_t
memory_of(PyObject *message)
{
    if (PyBytes_Check(message)) {
        return (Py_ssize_t)offsetof(PyBytesObject, ob_sval) + PyBytes_GET_SIZE(message) + 1;
    }
    return (Py_ssize_t)(PyUnicode_IS_ASCII(message) ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject)) +
           (PyUnicode_GET_LENGTH(message) + 1) * PyUnicode_KIND(message);
}

/* Append the messages, and move the position behind them; return -1 if there is no memory. */
static int
append_messages(PyObject *data, Py_ssize_t *position, int masked, Py_ssize_t max_size, Py_ssize_t *enough,
                PyObject *messages)
{
    const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(data);
    Frame frame;

    while (read_frame(bytes + *position, PyBytes_GET_SIZE(data) - *position, masked, max_size, &frame)) {
        PyObject *message = frame.opcode == TEXT ? new_text(&frame) : new_binary(&frame);
        if (message == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
                return -1;
            }
            PyErr_Clear();
            return 0;
        }
        int failed = PyList_Append(messages, message);
        *enough -= memory_of(message);
        Py_DECREF(message);
        if (failed) {
            return -1;
        }
        *position += frame.size;
        if (*enough <= 0) {
            return 0;
        }
    }
    return 0;
}

static PyObject *
take_messages(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Py_ssize_t position, max_size, enough;
    int masked;

    if (check_count("take_messages", count, 6) < 0 || check_bytes(arguments[0]) < 0) {
        return NULL;
    }
    position = PyNumber_AsSsize_t(arguments[1], PyExc_OverflowError);
    masked = arguments[2] == Py_None ? -1 : arguments[2] == Py_True;
    max_size = PyNumber_AsSsize_t(arguments[3], PyExc_OverflowError);
    enough = PyNumber_AsSsize_t(arguments[4], PyExc_OverflowError);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (position < 0 || position > PyBytes_GET_SIZE(arguments[0])) {
        return PyErr_Format(PyExc_ValueError, "position %zd is not within the data", position);
    }
    if (!PyList_Check(arguments[5])) {
        return PyErr_Format(PyExc_TypeError, "messages are a list, not %.100s", Py_TYPE(arguments[5])->tp_name);
    }
    if (append_messages(arguments[0], &position, masked, max_size, &enough, arguments[5]) < 0) {
        return NULL;
    }
    return Py_BuildValue("nn", position, enough);
}

/* -- writing frames (5.2) ------------------------------------------------------------------------------------------ */

static PyObject *
new_frame(int first, const char *payload, Py_ssize_t length, const unsigned char *key)
{
    unsigned char header[MAX_HEADER];
    int extended = length < 126 ? 0 : length < 65536 ? 2 : 8;
    int size = 2 + extended;
    PyObject *frame;

    header[0] = (unsigned char)first;
    header[1] = (unsigned char)((key == NULL ? 0 : MASK) | (extended == 0 ? length : extended == 2 ? 126 : 127));
    for (int i = 0; i < extended; i++) {
        header[2 + i] = (unsigned char)((uint64_t)length >> 8 * (extended - 1 - i));
    }
    if (key != NULL) {
        memcpy(header + size, key, KEY_LENGTH);
        size += KEY_LENGTH;
    }
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

static PyObject *
build_frame(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    const unsigned char *key;
    long first;
    Py_buffer payload;
    PyObject *frame, *encoded = NULL;

    if (check_count("build_frame", count, 3) < 0 || read_key(arguments[2], &key) < 0) {
        return NULL;
    }
    first = PyLong_AsLong(arguments[0]);
    if (first < 0 || first > 255) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "first byte of a frame cannot be %ld", first);
    }
    if (PyUnicode_Check(arguments[1])) {
        if (PyUnicode_IS_COMPACT_ASCII(arguments[1])) {
            const char *text = (const char *)PyUnicode_1BYTE_DATA(arguments[1]);
            return new_frame((int)first, text, PyUnicode_GET_LENGTH(arguments[1]), key);
        }
        encoded = PyUnicode_AsUTF8String(arguments[1]); /* not AsUTF8: it would stay with the text */
        if (encoded == NULL) {
            return NULL;
        }
    }
    if (PyObject_GetBuffer(encoded == NULL ? arguments[1] : encoded, &payload, PyBUF_SIMPLE) < 0) {
        return NULL; /* bytes have one: nothing was encoded */
    }
    frame = new_frame((int)first, payload.buf, payload.len, key);
    PyBuffer_Release(&payload);
    Py_XDECREF(encoded);
    return frame;
}

/* -- gathering a large payload ------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *data; /* bytes that nobody else has; NULL: none yet */
    Py_ssize_t size; /* how much of them has been filled */
} Payload;

/* Make room for `length` more bytes, of which `ahead` more will follow. */
static int
payload_reserve(Payload *self, Py_ssize_t length, Py_ssize_t ahead)
{
    Py_ssize_t room = self->data == NULL ? 0 : PyBytes_GET_SIZE(self->data);

    if (length <= room - self->size) {
        return 0;
    }
    if (ahead < self->size / 8) {
        ahead = self->size / 8; /* so that many small pieces cost no more than linear time */
    }
    if (length > PY_SSIZE_T_MAX - self->size || ahead > PY_SSIZE_T_MAX - self->size - length) {
        PyErr_NoMemory();
        return -1;
    }
    room = self->size + length + ahead;
    if (self->data == NULL) {
        self->data = PyBytes_FromStringAndSize(NULL, room);
    }
    else {
        _PyBytes_Resize(&self->data, room);
    }
    if (self->data == NULL) {
        self->size = 0; /* what was there is lost */
        return -1;
    }
    return 0;
}

static PyObject *
payload_extend(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    Payload *payload = (Payload *)self;
    const unsigned char *key;
    Py_ssize_t start, stop, ahead;
    int failed;

    if (check_count("extend", count, 5) < 0 || check_bytes(arguments[0]) < 0 || read_key(arguments[3], &key) < 0) {
        return NULL;
    }
    start = PyNumber_AsSsize_t(arguments[1], PyExc_OverflowError);
    stop = PyNumber_AsSsize_t(arguments[2], PyExc_OverflowError);
    ahead = PyNumber_AsSsize_t(arguments[4], PyExc_OverflowError);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (start < 0 || stop < start || stop > PyBytes_GET_SIZE(arguments[0])) {
        return PyErr_Format(PyExc_ValueError, "%zd to %zd is not within the data", start, stop);
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    failed = payload_reserve(payload, stop - start, ahead);
    if (!failed && stop > start) {
        char *end = PyBytes_AS_STRING(payload->data) + payload->size;
        copy(end, PyBytes_AS_STRING(arguments[0]) + start, stop - start, key);
        payload->size += stop - start;
    }
    Py_END_CRITICAL_SECTION();
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
payload_take(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Payload *payload = (Payload *)self;
    PyObject *taken;
    Py_ssize_t size;

    Py_BEGIN_CRITICAL_SECTION(self);
    taken = payload->data;
    size = payload->size;
    payload->data = NULL;
    payload->size = 0;
    Py_END_CRITICAL_SECTION();
    if (taken == NULL) {
        return PyBytes_FromStringAndSize(NULL, 0);
    }
    if (PyBytes_GET_SIZE(taken) != size) {
        _PyBytes_Resize(&taken, size); /* NULL if it fails */
    }
    return taken;
}

static Py_ssize_t
payload_length(PyObject *self)
{
    Py_ssize_t size;

    Py_BEGIN_CRITICAL_SECTION(self);
    size = ((Payload *)self)->size;
    Py_END_CRITICAL_SECTION();
    return size;
}

static void
payload_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    Py_XDECREF(((Payload *)self)->data);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef payload_methods[] = {
    {"extend", (PyCFunction)(void (*)(void))payload_extend, METH_FASTCALL,
     "extend(data, start, stop, masking_key, ahead, /)\n--\n\nAdd data[start:stop], unmasked."},
    {"take", payload_take, METH_NOARGS, "take()\n--\n\nReturn what has been added since the last time."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot payload_slots[] = {
    {Py_tp_doc, "The payload of a message that is coming in; see the pure twin."},
    {Py_tp_dealloc, payload_dealloc},
    {Py_tp_methods, payload_methods},
    {Py_sq_length, payload_length},
    {0, NULL},
};

static PyType_Spec payload_spec = {
    .name = "anyws.protocol._speedups.Payload",
    .basicsize = sizeof(Payload),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = payload_slots,
};

/* -- the module ---------------------------------------------------------------------------------------------------- */

static int
add_types(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &payload_spec, NULL);
    int failed = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);

    Py_XDECREF(type);
    return failed;
}

static PyMethodDef functions[] = {
    {"apply_mask", (PyCFunction)(void (*)(void))apply_mask, METH_FASTCALL,
     "apply_mask(data, key, /)\n--\n\nXOR the data with the masking key (RFC 6455, 5.3)."},
    {"build_frame", (PyCFunction)(void (*)(void))build_frame, METH_FASTCALL,
     "build_frame(first, payload, masking_key, /)\n--\n\nReturn the bytes of a frame."},
    {"take_messages", (PyCFunction)(void (*)(void))take_messages, METH_FASTCALL,
     "take_messages(data, position, masked, max_size, enough, messages, /)\n--\n\nAppend the messages."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, add_types},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_speedups",
    .m_doc = "The inner loops over bytes, compiled.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
