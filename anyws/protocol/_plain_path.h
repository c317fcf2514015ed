/* `PlainPath`: receives and sends messages that need no decisions, directly on the socket.
 *
 * The rule of the files _plain_*.h: they only know whether the plain case holds, by flags that Python code sets.
 * Whatever is not plain (a part of a frame, a control frame, an error, a full buffer) is handed to Python as if these
 * files did not exist.
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
    PyObject *decode, *encode; /* None or NULL unless an extension was negotiated */
    PyObject *pump, *keepalive, *now; /* NULL unless attached */
    PyObject *records;                /* the TLS layer, or NULL */
    Signal *signal;                   /* NULL if tasks do not wait for a signal */
    struct Call *delivery;            /* the call that waits for messages to deliver, borrowed, or NULL */
    Py_ssize_t budget;
    int descriptor, rsv; /* the reserved bits of the messages that `decode` restores */
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
    Py_VISIT(path->decode);
    Py_VISIT(path->encode);
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
    path->rsv = 0;
    Py_CLEAR(path->decode);
    Py_CLEAR(path->encode);
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
plain_path_use_extension(PyObject *self, PyObject *arguments)
{
    PlainPath *path = (PlainPath *)self;
    PyObject *bits, *decode, *encode;
    int rsv;

    if (!PyArg_ParseTuple(arguments, "OOO:use_extension", &bits, &decode, &encode) ||
        (rsv = read_decoder(bits, decode)) < 0) {
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    path->rsv = rsv;
    Py_XSETREF(path->decode, Py_NewRef(decode));
    Py_XSETREF(path->encode, Py_NewRef(encode));
    Py_END_CRITICAL_SECTION();
    Py_RETURN_NONE;
}

static PyObject *
plain_path_detach(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    plain_path_forget_socket((PlainPath *)self);
    Py_RETURN_NONE;
}

#endif
