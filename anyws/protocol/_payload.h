/* `Payload`: the growing payload of an incomplete message. */

#ifndef ANYWS_PAYLOAD_H
#define ANYWS_PAYLOAD_H

#include "_state.h"

enum {
    MAPPED = 1 << 17,     /* from this size on, the allocator maps pages for each block, as long as no such block was freed */
    KEPT_MEMORY = 16 << 20 /* what the allocator may then keep, in bytes */
};

typedef struct {
    PyObject_HEAD
    PyObject *data;   /* a bytes object that nobody else refers to, or NULL */
    Py_ssize_t size;  /* the number of bytes filled */
    Py_ssize_t room;  /* the size of the buffer that get_buffer() returned */
    Py_ssize_t views; /* the number of open views of this buffer */
    char is_lost;     /* whether data was lost because memory ran out during a resize */
} Payload;

/* Check that the data may change and that no data was lost; drop the buffer that get_buffer() returned. */
static int
payload_begin_change(Payload *self)
{
    if (self->views > 0) {
        PyErr_SetString(PyExc_BufferError, "the buffer returned by get_buffer() has not been released");
        return -1;
    }
    if (self->is_lost) {
        PyErr_SetString(PyExc_MemoryError, "a part of the payload was lost when memory ran out");
        return -1;
    }
    self->room = 0;
    return 0;
}

/* Let the allocator keep the memory of a few large messages, instead of returning it to the system after each: new pages
 * cost as much as copying them. glibc does so up to twice the size of the largest block that was ever freed. */
static void
keep_memory(State *state, Py_ssize_t size)
{
    if (size >= MAPPED && !state->keeps_memory) {
        state->keeps_memory = 1;
        PyMem_RawFree(PyMem_RawMalloc(KEPT_MEMORY / 2)); /* never written to, so it never used any */
    }
}

/* Return a payload that begins with the first `size` bytes of an object, whose reference is stolen. */
static PyObject *
payload_of(PyTypeObject *type, PyObject *data, Py_ssize_t size)
{
    Payload *payload = (Payload *)type->tp_alloc(type, 0);

    if (payload == NULL) {
        Py_DECREF(data);
        return NULL;
    }
    payload->data = data;
    payload->size = size;
    return (PyObject *)payload;
}

/* Resize the bytes object. If there is not enough memory, its contents are lost. */
static int
payload_resize(Payload *self, PyObject **data, Py_ssize_t size)
{
    if (_PyBytes_Resize(data, size) < 0) {
        self->is_lost = 1;
        self->size = 0;
        return -1;
    }
    return 0;
}

/* Allocate memory for `length` more bytes, and in advance for `reserve` bytes after them. */
static int
payload_reserve(Payload *self, Py_ssize_t length, Py_ssize_t reserve)
{
    Py_ssize_t room = self->data == NULL ? 0 : PyBytes_GET_SIZE(self->data);

    if (payload_begin_change(self) < 0) {
        return -1;
    }
    if (length <= room - self->size) {
        return 0;
    }
    if (reserve < self->size / 8) {
        reserve = self->size / 8; /* so that adding many small pieces takes linear time */
    }
    if (length > PY_SSIZE_T_MAX - self->size || reserve > PY_SSIZE_T_MAX - self->size - length) {
        PyErr_NoMemory();
        return -1;
    }
    room = self->size + length + reserve;
    keep_memory(PyType_GetModuleState(Py_TYPE(self)), room);
    if (self->data != NULL) {
        return payload_resize(self, &self->data, room);
    }
    self->data = PyBytes_FromStringAndSize(NULL, room);
    return self->data == NULL ? -1 : 0;
}

static PyObject *
payload_extend(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    Payload *payload = (Payload *)self;
    const unsigned char *key;
    Py_ssize_t start, stop, reserve;
    int failed;

    if (check_count("extend", count, 5) < 0 || check_bytes(arguments[0]) < 0 || read_key(arguments[3], &key) < 0) {
        return NULL;
    }
    start = PyNumber_AsSsize_t(arguments[1], PyExc_OverflowError);
    stop = PyNumber_AsSsize_t(arguments[2], PyExc_OverflowError);
    reserve = PyNumber_AsSsize_t(arguments[4], PyExc_OverflowError);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (start < 0 || stop < start || stop > PyBytes_GET_SIZE(arguments[0])) {
        return PyErr_Format(PyExc_ValueError, "range %zd to %zd is not within the data", start, stop);
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    failed = payload_reserve(payload, stop - start, reserve);
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
payload_get_buffer(PyObject *self, PyObject *const *arguments, Py_ssize_t number)
{
    Payload *payload = (Payload *)self;
    Py_ssize_t count, reserve;
    int failed;

    if (check_count("get_buffer", number, 2) < 0) {
        return NULL;
    }
    count = PyNumber_AsSsize_t(arguments[0], PyExc_OverflowError);
    reserve = PyNumber_AsSsize_t(arguments[1], PyExc_OverflowError);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (count < 0) {
        return PyErr_Format(PyExc_ValueError, "count is %zd, expected 0 or more", count);
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    failed = payload_reserve(payload, count, reserve);
    if (!failed) {
        payload->room = count;
    }
    Py_END_CRITICAL_SECTION();
    return failed ? NULL : PyMemoryView_FromObject(self);
}

static int
payload_bf_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    Payload *payload = (Payload *)self;
    static char nothing;
    int failed;

    Py_BEGIN_CRITICAL_SECTION(self);
    char *start = payload->data == NULL ? &nothing : PyBytes_AS_STRING(payload->data) + payload->size;
    failed = PyBuffer_FillInfo(view, self, start, payload->room, 0, flags);
    payload->views += !failed;
    Py_END_CRITICAL_SECTION();
    return failed;
}

static void
payload_bf_releasebuffer(PyObject *self, Py_buffer *Py_UNUSED(view))
{
    Py_BEGIN_CRITICAL_SECTION(self);
    ((Payload *)self)->views--;
    Py_END_CRITICAL_SECTION();
}

/* Unmask and add the first `filled` bytes of the buffer that get_buffer() returned. */
static int
payload_fill(Payload *self, Py_ssize_t filled, const unsigned char *key)
{
    Py_ssize_t room = self->room;

    if (filled < 0 || filled > room) {
        PyErr_Format(PyExc_ValueError, "%zd is not within the buffer of %zd bytes", filled, room);
        return -1;
    }
    if (payload_begin_change(self) < 0) {
        return -1;
    }
    if (key != NULL && filled > 0) {
        unsigned char *start = (unsigned char *)PyBytes_AS_STRING(self->data) + self->size;
        copy_masked(start, start, filled, key);
    }
    self->size += filled;
    return 0;
}

static PyObject *
payload_buffer_updated(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    const unsigned char *key;
    Py_ssize_t filled;
    int failed;

    if (check_count("buffer_updated", count, 2) < 0 || read_key(arguments[1], &key) < 0) {
        return NULL;
    }
    filled = PyNumber_AsSsize_t(arguments[0], PyExc_OverflowError);
    if (filled == -1 && PyErr_Occurred()) {
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    failed = payload_fill((Payload *)self, filled, key);
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
    PyObject *taken = NULL;
    int failed;

    Py_BEGIN_CRITICAL_SECTION(self);
    failed = payload_begin_change(payload);
    if (!failed) {
        taken = payload->data;
        payload->data = NULL;
        if (taken != NULL && PyBytes_GET_SIZE(taken) != payload->size) {
            failed = payload_resize(payload, &taken, payload->size);
        }
        payload->size = 0;
    }
    Py_END_CRITICAL_SECTION();
    return failed || taken != NULL ? taken : PyBytes_FromStringAndSize(NULL, 0);
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
     "extend(data, start, stop, masking_key, reserve, /)\n--\n\nUnmask and add ``data[start:stop]``."},
    {"get_buffer", (PyCFunction)(void (*)(void))payload_get_buffer, METH_FASTCALL,
     "get_buffer(count, reserve, /)\n--\n\nReturn a buffer for the next bytes. Fill and release it before you call any "
     "other method."},
    {"buffer_updated", (PyCFunction)(void (*)(void))payload_buffer_updated, METH_FASTCALL,
     "buffer_updated(count, masking_key, /)\n--\n\nUnmask and add the first ``count`` bytes of the buffer that "
     "`get_buffer` returned."},
    {"take", payload_take, METH_NOARGS, "take()\n--\n\nReturn and remove the bytes added since the last call."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot payload_slots[] = {
    {Py_tp_doc, "The growing payload of an incomplete message. `len` returns the number of bytes received."},
    {Py_tp_dealloc, payload_dealloc},
    {Py_tp_methods, payload_methods},
    {Py_sq_length, payload_length},
    {Py_bf_getbuffer, payload_bf_getbuffer},
    {Py_bf_releasebuffer, payload_bf_releasebuffer},
    {0, NULL},
};

static PyType_Spec payload_spec = {
    .name = "anyws.protocol._speedups.Payload",
    .basicsize = sizeof(Payload),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = payload_slots,
};

#endif
