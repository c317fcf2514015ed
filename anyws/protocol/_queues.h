/* `MessageQueue` and `FrameQueue`: received messages and outgoing frames. The pure twins document them.
   This file is longer than others because the two share how they hold their references. */

#ifndef ANYWS_QUEUES_H
#define ANYWS_QUEUES_H

#include "_frames.h"

#include <structmember.h>

enum { LARGE = 16384, BATCH = 65536, FEW = 8 };

/* -- a queue of objects -------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject **items; /* NULL if the capacity is 0 */
    Py_ssize_t head, count, capacity;
} Queue;

/* Add an object without stealing the reference; return -1 if memory runs out. */
static int
queue_push(Queue *queue, PyObject *object)
{
    if (queue->head + queue->count == queue->capacity) {
        if (queue->head > queue->count) {
            memmove(queue->items, queue->items + queue->head, queue->count * sizeof(PyObject *));
            queue->head = 0;
        }
        else {
            Py_ssize_t capacity = queue->capacity == 0 ? FEW : 2 * queue->capacity;
            PyObject **items = PyMem_Realloc(queue->items, capacity * sizeof(PyObject *));
            if (items == NULL) {
                PyErr_NoMemory();
                return -1;
            }
            queue->items = items;
            queue->capacity = capacity;
        }
    }
    queue->items[queue->head + queue->count++] = Py_NewRef(object);
    return 0;
}

/* Remove the oldest object and return its reference. The queue must not be empty. This runs no other Python code. */
static PyObject *
queue_pop(Queue *queue)
{
    PyObject *object = queue->items[queue->head++];

    if (--queue->count == 0) {
        queue->head = 0;
        if (queue->capacity > FEW) { /* an idle connection does not keep a large array */
            PyMem_Free(queue->items);
            queue->items = NULL;
            queue->capacity = 0;
        }
    }
    return object;
}

/* Drop all objects. The queue is emptied before the first reference is released, because that may run arbitrary code,
 * which may use the queue again. */
static void
queue_clear(Queue *queue)
{
    Queue dropped = *queue;

    *queue = (Queue){NULL, 0, 0, 0};
    for (Py_ssize_t i = 0; i < dropped.count; i++) {
        Py_DECREF(dropped.items[dropped.head + i]);
    }
    PyMem_Free(dropped.items);
}

/* -- MessageQueue -------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Queue messages;
    Py_ssize_t max_size, limit, size, budget;
    unsigned long long messages_added, bytes_read;
    int masked; /* see `read_masked` */
    char is_open, is_receiving, is_reserved, receiver_waits, wants_pieces, is_paused, is_on_fast_path;
} MessageQueue;

/* Arguments are processed here because `tp_init` may be skipped or called again. */
static PyObject *
message_queue_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    MessageQueue *queue;
    PyObject *masked;
    Py_ssize_t max_size;

    if (check_no_keywords("MessageQueue", keywords) < 0 ||
        !PyArg_ParseTuple(arguments, "On:MessageQueue", &masked, &max_size)) {
        return NULL;
    }
    queue = (MessageQueue *)type->tp_alloc(type, 0);
    if (queue != NULL) {
        queue->masked = read_masked(masked);
        queue->max_size = max_size;
        queue->limit = PY_SSIZE_T_MAX;
        queue->is_open = queue->is_on_fast_path = 1;
    }
    return (PyObject *)queue;
}

static void
message_queue_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    queue_clear(&((MessageQueue *)self)->messages);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
append_to_inbox(void *inbox, PyObject *message)
{
    MessageQueue *queue = inbox;

    if (queue_push(&queue->messages, message) < 0) {
        return -1;
    }
    queue->size += memory_of(message);
    queue->messages_added++;
    return 0;
}

static PyObject *
message_queue_put(PyObject *self, PyObject *message)
{
    MessageQueue *queue = (MessageQueue *)self;
    int failed;

    if (!PyBytes_Check(message) && !PyUnicode_Check(message)) {
        return PyErr_Format(PyExc_TypeError, "expected str or bytes, not %.100s", Py_TYPE(message)->tp_name);
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    failed = append_to_inbox(queue, message);
    Py_END_CRITICAL_SECTION();
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Add the messages at the beginning of the data that are single complete frames, until the limit is reached. Return the
 * position at which it stopped; -1 if an extension has failed. */
static Py_ssize_t
message_queue_add_frames(MessageQueue *queue, const unsigned char *data, Py_ssize_t size, int rsv, PyObject *decode)
{
    Py_ssize_t position = 0, room;
    int failed = 0;

    Py_BEGIN_CRITICAL_SECTION(queue);
    room = queue->limit - queue->size;
    if (room > 0) {
        failed = append_messages(data, size, &position, queue->masked, queue->max_size, &room, append_to_inbox, queue,
                                 rsv, decode);
        queue->bytes_read += position;
    }
    Py_END_CRITICAL_SECTION();
    return failed ? -1 : position;
}

static PyObject *
message_queue_put_frames(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *data = count > 0 ? arguments[0] : Py_None, *decode = count == 3 ? arguments[2] : Py_None;
    Py_ssize_t position;
    int rsv = 0;

    if ((count != 3 && check_count("put_frames", count, 1) < 0) || check_bytes(data) < 0 ||
        (count == 3 && (rsv = read_decoder(arguments[1], decode)) < 0)) {
        return NULL;
    }
    position = message_queue_add_frames((MessageQueue *)self, (const unsigned char *)PyBytes_AS_STRING(data),
                                        PyBytes_GET_SIZE(data), rsv, decode);
    return position < 0 ? NULL : PyLong_FromSsize_t(position);
}

/* Remove the oldest message, or return NULL without an error. */
static PyObject *
message_queue_pop(MessageQueue *queue)
{
    PyObject *message;

    if (queue->messages.count == 0) {
        return NULL;
    }
    message = queue_pop(&queue->messages);
    queue->size -= memory_of(message);
    return message;
}

static PyObject *
message_queue_take(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *message;

    Py_BEGIN_CRITICAL_SECTION(self);
    message = message_queue_pop((MessageQueue *)self);
    Py_END_CRITICAL_SECTION();
    if (message == NULL) {
        PyErr_SetString(PyExc_IndexError, "take from an empty queue");
    }
    return message;
}

/* Remove the oldest message if it may be taken without waiting; otherwise return NULL without an error. */
static PyObject *
message_queue_pop_now(MessageQueue *queue)
{
    PyObject *message = NULL;

    Py_BEGIN_CRITICAL_SECTION(queue);
    if (queue->budget > 0 && !queue->is_receiving && !queue->is_reserved &&
        (message = message_queue_pop(queue)) != NULL) {
        queue->budget--;
    }
    Py_END_CRITICAL_SECTION();
    return message;
}

static PyObject *
message_queue_take_now(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *message = message_queue_pop_now((MessageQueue *)self);

    return message == NULL ? Py_NewRef(Py_None) : message;
}

static PyObject *
message_queue_clear(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    MessageQueue *queue = (MessageQueue *)self;

    Py_BEGIN_CRITICAL_SECTION(self);
    queue->size = 0;
    queue_clear(&queue->messages);
    Py_END_CRITICAL_SECTION();
    Py_RETURN_NONE;
}

static Py_ssize_t
message_queue_length(PyObject *self)
{
    Py_ssize_t count;

    Py_BEGIN_CRITICAL_SECTION(self);
    count = ((MessageQueue *)self)->messages.count;
    Py_END_CRITICAL_SECTION();
    return count;
}

static PyMethodDef message_queue_methods[] = {
    {"put", message_queue_put, METH_O,
     "put(message, /)\n--\n\nAdd a message even if the limit is exceeded: a message that was read is never lost."},
    {"put_frames", (PyCFunction)(void (*)(void))message_queue_put_frames, METH_FASTCALL,
     "put_frames(data, rsv=0, decode=None, /)\n--\n\nAdd the messages at the beginning of the data that are single complete frames, until "
     "the limit is reached."},
    {"take", message_queue_take, METH_NOARGS, "take()\n--\n\nRemove and return the oldest message."},
    {"take_now", message_queue_take_now, METH_NOARGS,
     "take_now()\n--\n\nRemove and return the oldest message; None if there is none, ``budget`` is 0, or another task "
     "is waiting."},
    {"clear", message_queue_clear, METH_NOARGS, "clear()\n--\n\nDrop all messages."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef message_queue_members[] = {
    {"limit", T_PYSSIZET, offsetof(MessageQueue, limit), 0, NULL},
    {"size", T_PYSSIZET, offsetof(MessageQueue, size), READONLY, NULL},
    {"budget", T_PYSSIZET, offsetof(MessageQueue, budget), 0, NULL},
    {"is_open", T_BOOL, offsetof(MessageQueue, is_open), 0, NULL},
    {"is_receiving", T_BOOL, offsetof(MessageQueue, is_receiving), 0, NULL},
    {"is_reserved", T_BOOL, offsetof(MessageQueue, is_reserved), 0, NULL},
    {"receiver_waits", T_BOOL, offsetof(MessageQueue, receiver_waits), 0, NULL},
    {"wants_pieces", T_BOOL, offsetof(MessageQueue, wants_pieces), 0, NULL},
    {"is_paused", T_BOOL, offsetof(MessageQueue, is_paused), 0, NULL},
    {"is_on_fast_path", T_BOOL, offsetof(MessageQueue, is_on_fast_path), 0, NULL},
    {"messages_added", T_ULONGLONG, offsetof(MessageQueue, messages_added), READONLY, NULL},
    {"bytes_read", T_ULONGLONG, offsetof(MessageQueue, bytes_read), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot message_queue_slots[] = {
    {Py_tp_doc, "The queue of received messages."},
    {Py_tp_new, message_queue_new},
    {Py_tp_dealloc, message_queue_dealloc},
    {Py_tp_methods, message_queue_methods},
    {Py_tp_members, message_queue_members},
    {Py_sq_length, message_queue_length},
    {0, NULL},
};

static PyType_Spec message_queue_spec = {
    .name = "anyws.protocol._speedups.MessageQueue",
    .basicsize = sizeof(MessageQueue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = message_queue_slots,
};

/* -- FrameQueue ---------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Queue frames; /* bytes, or for large frames a tuple of header and payload; never instances of subclasses */
    PyObject *new_masking_key; /* NULL before `__init__` and after garbage collection */
    Py_ssize_t limit, size, budget;
    unsigned long long sent, messages_added, bytes_added;
    char is_open, is_reserved, is_plain, is_flush_due, is_direct, gathers;
} FrameQueue;

static int
frame_queue_init(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    FrameQueue *queue = (FrameQueue *)self;
    PyObject *new_masking_key;

    if (check_no_keywords("FrameQueue", keywords) < 0 ||
        !PyArg_ParseTuple(arguments, "O:FrameQueue", &new_masking_key)) {
        return -1;
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    queue_clear(&queue->frames);
    queue->size = queue->budget = 0;
    queue->limit = PY_SSIZE_T_MAX;
    queue->is_open = queue->is_plain = 1;
    queue->is_reserved = queue->is_flush_due = queue->is_direct = queue->gathers = 0;
    queue->sent = queue->messages_added = queue->bytes_added = 0;
    Py_XSETREF(queue->new_masking_key, Py_NewRef(new_masking_key));
    Py_END_CRITICAL_SECTION();
    return 0;
}

static int
frame_queue_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((FrameQueue *)self)->new_masking_key);
    return 0;
}

static int
frame_queue_forget(PyObject *self)
{
    Py_CLEAR(((FrameQueue *)self)->new_masking_key);
    return 0;
}

static void
frame_queue_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, frame_queue_dealloc)
    frame_queue_forget(self);
    queue_clear(&((FrameQueue *)self)->frames);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static Py_ssize_t
length_of(PyObject *frame)
{
    if (PyBytes_Check(frame)) {
        return PyBytes_GET_SIZE(frame);
    }
    return PyBytes_GET_SIZE(PyTuple_GET_ITEM(frame, 0)) + PyBytes_GET_SIZE(PyTuple_GET_ITEM(frame, 1));
}

/* Count a frame of this first byte and size, which is the last one of a message unless it is a control frame. */
static void
frame_queue_count(FrameQueue *queue, int first, Py_ssize_t size)
{
    queue->messages_added += (first & (FIN | CONTROL)) == FIN;
    queue->bytes_added += size;
}

/* Count a frame, and return its size. */
static Py_ssize_t
frame_queue_count_frame(FrameQueue *queue, PyObject *frame)
{
    PyObject *start = PyBytes_Check(frame) ? frame : PyTuple_GET_ITEM(frame, 0);
    Py_ssize_t size = PyBytes_GET_SIZE(start) + (start == frame ? 0 : PyBytes_GET_SIZE(PyTuple_GET_ITEM(frame, 1)));

    frame_queue_count(queue, (unsigned char)*PyBytes_AS_STRING(start), size);
    return size;
}

/* Add a frame and steal its reference; return -1 if the frame is NULL or memory runs out. */
static int
frame_queue_add(FrameQueue *queue, PyObject *frame)
{
    int failed = 1;

    if (frame == NULL) {
        return -1;
    }
    Py_BEGIN_CRITICAL_SECTION(queue);
    failed = queue_push(&queue->frames, frame);
    if (!failed) {
        queue->size += frame_queue_count_frame(queue, frame);
    }
    Py_END_CRITICAL_SECTION();
    Py_DECREF(frame);
    return failed;
}

static PyObject *
new_large_frame(int first, PyObject *payload)
{
    unsigned char header[MAX_HEADER];
    PyObject *bytes = PyBytes_FromObject(payload), *frame; /* copies the payload only if it is mutable */

    if (bytes == NULL) {
        return NULL;
    }
    frame = Py_BuildValue("y#N", header, (Py_ssize_t)write_header(header, first, PyBytes_GET_SIZE(bytes), NULL), bytes);
    return frame;
}

/* Return the masked frame for a payload. */
static PyObject *
masked_frame_of(int first, PyObject *payload, PyObject *masking_key)
{
    const unsigned char *key;

    return read_key(masking_key, &key) < 0 ? NULL : frame_of(first, payload, key);
}

/* Return the frame for a payload, masked with a new key. */
static PyObject *
new_masked_frame(FrameQueue *queue, int first, PyObject *payload)
{
    PyObject *new_masking_key, *masking_key = NULL, *frame;

    Py_BEGIN_CRITICAL_SECTION(queue);
    new_masking_key = Py_XNewRef(queue->new_masking_key); /* the attribute may change during the call below */
    Py_END_CRITICAL_SECTION();
    if (new_masking_key == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "FrameQueue.__init__() has not been called");
    }
    else {
        masking_key = PyObject_CallNoArgs(new_masking_key);
        Py_DECREF(new_masking_key);
    }
    frame = masking_key == NULL ? NULL : masked_frame_of(first, payload, masking_key);
    Py_XDECREF(masking_key);
    return frame;
}

/* Frame a payload and add it; on failure, return -1 and set an error. */
static int
frame_queue_frame(FrameQueue *queue, int first, PyObject *payload)
{
    PyObject *frame;

    if (queue->new_masking_key != Py_None) {
        frame = new_masked_frame(queue, first, payload);
    }
    else if (PyUnicode_Check(payload)) {
        frame = frame_of(first, payload, NULL);
    }
    else {
        Py_ssize_t length = PyObject_Size(payload);
        frame = length < 0 ? NULL : length < LARGE ? frame_of(first, payload, NULL) : new_large_frame(first, payload);
    }
    return frame_queue_add(queue, frame);
}

static PyObject *
frame_queue_put(PyObject *self, PyObject *frame)
{
    if (check_bytes(frame) < 0 || frame_queue_add((FrameQueue *)self, PyBytes_FromObject(frame)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
frame_queue_put_frame(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    int first;

    if (check_count("put_frame", count, 2) < 0) {
        return NULL;
    }
    first = read_first(arguments[0]);
    if (first < 0 || frame_queue_frame((FrameQueue *)self, first, arguments[1]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Return whether messages are accepted. */
static int
frame_queue_has_room(const FrameQueue *queue)
{
    return queue->is_open && !queue->is_reserved && queue->size < queue->limit;
}

/* Return the opcode of a message that may be sent now; 0 if this message may not. */
static int
frame_queue_opcode(const FrameQueue *queue, PyObject *message)
{
    int opcode = PyUnicode_CheckExact(message) ? TEXT : PyBytes_CheckExact(message) ? BINARY : 0;

    return frame_queue_has_room(queue) && queue->budget > 0 ? opcode : 0;
}

/* Frame and add a message; on failure, return -1 and set an error. */
static int
frame_queue_add_message(FrameQueue *queue, int opcode, PyObject *message)
{
    if (frame_queue_frame(queue, FIN | opcode, message) < 0) {
        return -1;
    }
    queue->budget--;
    if (queue->size >= BATCH) {
        queue->is_flush_due = 0;
    }
    return 0;
}

static PyObject *
frame_queue_put_message(PyObject *self, PyObject *message)
{
    FrameQueue *queue = (FrameQueue *)self;
    int opcode = queue->is_plain ? frame_queue_opcode(queue, message) : 0;

    if (!opcode) {
        Py_RETURN_FALSE;
    }
    if (frame_queue_add_message(queue, opcode, message) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

static PyObject *
frame_queue_put_prepared(PyObject *self, PyObject *frame)
{
    FrameQueue *queue = (FrameQueue *)self;

    if (check_bytes(frame) < 0) {
        return NULL;
    }
    if (!frame_queue_has_room(queue) || queue->new_masking_key != Py_None) {
        Py_RETURN_FALSE;
    }
    if (frame_queue_add(queue, PyBytes_FromObject(frame)) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

/* Join small frames, and a header after them if there is one, into one buffer and append it. */
static int
append_joined(PyObject *buffers, PyObject **frames, Py_ssize_t count, PyObject *header)
{
    Py_ssize_t size = header == NULL ? 0 : PyBytes_GET_SIZE(header);
    PyObject *joined;
    char *to;
    int failed;

    if (count + (header != NULL) == 1) {
        return PyList_Append(buffers, header == NULL ? frames[0] : header);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        size += PyBytes_GET_SIZE(frames[i]);
    }
    joined = PyBytes_FromStringAndSize(NULL, size);
    if (joined == NULL) {
        return -1;
    }
    to = PyBytes_AS_STRING(joined);
    for (Py_ssize_t i = 0; i < count + (header != NULL); i++) {
        PyObject *frame = i < count ? frames[i] : header;
        memcpy(to, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame));
        to += PyBytes_GET_SIZE(frame);
    }
    failed = PyList_Append(buffers, joined);
    Py_DECREF(joined);
    return failed;
}

/* Append the buffers of the oldest frames; set the number of frames and of bytes. */
static int
append_buffers(PyObject *buffers, const Queue *frames, Py_ssize_t *count, Py_ssize_t *size)
{
    PyObject **first = frames->items + frames->head, **small = first, **at = first;

    for (; at < first + frames->count; at++) {
        Py_ssize_t length = length_of(*at);
        if (*size && *size + length > BATCH) {
            break;
        }
        *size += length;
        if (PyTuple_Check(*at)) {
            if (append_joined(buffers, small, at - small, PyTuple_GET_ITEM(*at, 0)) < 0 ||
                PyList_Append(buffers, PyTuple_GET_ITEM(*at, 1)) < 0) {
                return -1;
            }
            small = at + 1;
        }
    }
    *count = at - first;
    return at == small ? 0 : append_joined(buffers, small, at - small, NULL);
}

static PyObject *
frame_queue_take(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FrameQueue *queue = (FrameQueue *)self;
    PyObject *buffers = PyList_New(0);
    Py_ssize_t count = 0, size = 0;
    int failed = 0;

    if (buffers == NULL) {
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    queue->is_flush_due = 0;
    if (queue->frames.count > 0) {
        failed = append_buffers(buffers, &queue->frames, &count, &size);
    }
    if (!failed) {
        queue->size -= size;
        for (; count > 0; count--) {
            Py_DECREF(queue_pop(&queue->frames));
        }
    }
    Py_END_CRITICAL_SECTION();
    if (failed) {
        Py_CLEAR(buffers);
    }
    return buffers;
}

static PyObject *
frame_queue_clear(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FrameQueue *queue = (FrameQueue *)self;

    Py_BEGIN_CRITICAL_SECTION(self);
    queue_clear(&queue->frames);
    queue->size = 0;
    Py_END_CRITICAL_SECTION();
    Py_RETURN_NONE;
}

static PyMethodDef frame_queue_methods[] = {
    {"put", frame_queue_put, METH_O, "put(frame, /)\n--\n\nAdd a frame."},
    {"put_frame", (PyCFunction)(void (*)(void))frame_queue_put_frame, METH_FASTCALL,
     "put_frame(first, payload, /)\n--\n\nFrame a payload and add it. A large payload is not copied unless it is text "
     "or masked."},
    {"put_message", frame_queue_put_message, METH_O,
     "put_message(message, /)\n--\n\nFrame and add a message if it is a `str` or `bytes` and messages are accepted; "
     "return whether it was added."},
    {"put_prepared", frame_queue_put_prepared, METH_O,
     "put_prepared(frame, /)\n--\n\nAdd a frame that is a whole message if messages are accepted; return whether it "
     "was added."},
    {"take", frame_queue_take, METH_NOARGS,
     "take()\n--\n\nRemove and return the oldest frames: at most 64 KiB of whole frames, or one larger frame."},
    {"clear", frame_queue_clear, METH_NOARGS, "clear()\n--\n\nDrop all frames."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef frame_queue_members[] = {
    {"limit", T_PYSSIZET, offsetof(FrameQueue, limit), 0, NULL},
    {"size", T_PYSSIZET, offsetof(FrameQueue, size), 0, NULL},
    {"budget", T_PYSSIZET, offsetof(FrameQueue, budget), 0, NULL},
    {"is_open", T_BOOL, offsetof(FrameQueue, is_open), 0, NULL},
    {"is_reserved", T_BOOL, offsetof(FrameQueue, is_reserved), 0, NULL},
    {"is_plain", T_BOOL, offsetof(FrameQueue, is_plain), 0, NULL},
    {"is_flush_due", T_BOOL, offsetof(FrameQueue, is_flush_due), 0, NULL},
    {"is_direct", T_BOOL, offsetof(FrameQueue, is_direct), 0, NULL},
    {"gathers", T_BOOL, offsetof(FrameQueue, gathers), 0, NULL},
    {"sent", T_ULONGLONG, offsetof(FrameQueue, sent), 0, NULL},
    {"messages_added", T_ULONGLONG, offsetof(FrameQueue, messages_added), READONLY, NULL},
    {"bytes_added", T_ULONGLONG, offsetof(FrameQueue, bytes_added), 0, NULL},
    {"new_masking_key", T_OBJECT_EX, offsetof(FrameQueue, new_masking_key), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot frame_queue_slots[] = {
    {Py_tp_doc, "The queue of outgoing frames."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, frame_queue_init},
    {Py_tp_dealloc, frame_queue_dealloc},
    {Py_tp_traverse, frame_queue_traverse},
    {Py_tp_clear, frame_queue_forget},
    {Py_tp_methods, frame_queue_methods},
    {Py_tp_members, frame_queue_members},
    {0, NULL},
};

static PyType_Spec frame_queue_spec = {
    .name = "anyws.protocol._speedups.FrameQueue",
    .basicsize = sizeof(FrameQueue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = frame_queue_slots,
};

#endif
