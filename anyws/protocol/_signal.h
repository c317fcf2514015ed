/* `Signal`: wakes a waiting asyncio task. The pure twin in pumps/signals.py documents it. */

#ifndef ANYWS_SIGNAL_H
#define ANYWS_SIGNAL_H

#include "_frames.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *loop;               /* NULL after garbage collection */
    PyObject *callback, *context; /* resume the waiting task; both NULL if no task is waiting */
    PyObject *cancelled_by;       /* the CancelledError to raise in the task, or NULL */
    char is_set, is_blocking;
} Signal;

/* The state of the module in each interpreter. */
typedef struct {
    PyObject *cancelled_error; /* asyncio.CancelledError; NULL until the first signal is created */
} State;

/* Look up CancelledError once in advance: there may not be enough memory for an import when a task is cancelled. */
static int
find_cancelled_error(State *state)
{
    PyObject *asyncio;

    if (state->cancelled_error != NULL) {
        return 0;
    }
    asyncio = PyImport_ImportModule("asyncio");
    if (asyncio != NULL) {
        Py_XSETREF(state->cancelled_error, PyObject_GetAttrString(asyncio, "CancelledError"));
        Py_DECREF(asyncio);
    }
    return state->cancelled_error == NULL ? -1 : 0;
}

/* Arguments are processed here because `tp_init` may be skipped or called again. */
static PyObject *
signal_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *loop, *self;

    if (check_no_keywords("Signal", keywords) < 0 || !PyArg_ParseTuple(arguments, "O:Signal", &loop) ||
        find_cancelled_error(PyType_GetModuleState(type)) < 0) {
        return NULL;
    }
    self = type->tp_alloc(type, 0);
    if (self != NULL) {
        ((Signal *)self)->loop = Py_NewRef(loop);
    }
    return self;
}

static int
signal_traverse(PyObject *self, visitproc visit, void *arg)
{
    Signal *signal = (Signal *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(signal->loop);
    Py_VISIT(signal->callback);
    Py_VISIT(signal->context);
    Py_VISIT(signal->cancelled_by);
    return 0;
}

/* Remove and return the callback that resumes the waiting task; return 0 if no task is waiting. */
static int
signal_take(Signal *signal, PyObject **callback, PyObject **context)
{
    Py_BEGIN_CRITICAL_SECTION(signal);
    *callback = signal->callback;
    *context = signal->context;
    signal->callback = signal->context = NULL;
    Py_END_CRITICAL_SECTION();
    return *callback != NULL;
}

/* Restore the callback because the task could not be resumed, unless another task has started to wait. */
static void
signal_put_back(Signal *signal, PyObject *callback, PyObject *context)
{
    int has_waiter;

    Py_BEGIN_CRITICAL_SECTION(signal);
    has_waiter = signal->callback != NULL;
    if (!has_waiter) {
        signal->callback = callback;
        signal->context = context;
    }
    Py_END_CRITICAL_SECTION();
    if (has_waiter) {
        Py_DECREF(callback);
        Py_DECREF(context);
    }
}

static int
signal_forget(PyObject *self)
{
    Signal *signal = (Signal *)self;
    PyObject *callback, *context;

    if (signal_take(signal, &callback, &context)) {
        Py_DECREF(callback);
        Py_DECREF(context);
    }
    Py_CLEAR(signal->loop);
    Py_CLEAR(signal->cancelled_by);
    return 0;
}

static void
signal_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, signal_dealloc)
    signal_forget(self);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* Return a new reference to the event loop. */
static PyObject *
signal_loop(Signal *signal)
{
    if (signal->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the signal has been garbage-collected");
    }
    return Py_XNewRef(signal->loop);
}

/* Call `loop.call_soon(callback, signal, context=context)`. */
static int
call_soon(Signal *signal, PyObject *callback, PyObject *context)
{
    PyObject *loop = signal_loop(signal), *name, *keywords, *handle = NULL;

    if (loop == NULL) {
        return -1;
    }
    name = PyUnicode_FromString("call_soon");
    keywords = name == NULL ? NULL : Py_BuildValue("(s)", "context");
    if (keywords != NULL) {
        PyObject *arguments[] = {loop, callback, (PyObject *)signal, context};
        handle = PyObject_VectorcallMethod(name, arguments, 3, keywords);
    }
    Py_XDECREF(keywords);
    Py_XDECREF(name);
    Py_DECREF(loop);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

/* Schedule the waiting task on the event loop. Return 0 if no task is waiting. On failure, return -1; the task then
 * keeps waiting. */
static int
signal_call_soon(Signal *signal)
{
    PyObject *callback, *context;

    if (!signal_take(signal, &callback, &context)) {
        return 0;
    }
    if (call_soon(signal, callback, context) < 0) {
        signal_put_back(signal, callback, context);
        return -1;
    }
    Py_DECREF(callback);
    Py_DECREF(context);
    return 1;
}

static PyObject *
signal_set(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    ((Signal *)self)->is_set = 1;
    if (signal_call_soon((Signal *)self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
signal_set_now(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Signal *signal = (Signal *)self;
    PyObject *callback, *context, *result;

    signal->is_set = 1;
    if (!signal_take(signal, &callback, &context)) {
        Py_RETURN_NONE;
    }
    if (PyContext_Enter(context) < 0) {
        signal_put_back(signal, callback, context);
        return NULL;
    }
    result = PyObject_CallOneArg(callback, self);
    if (PyContext_Exit(context) < 0) {
        Py_CLEAR(result);
    }
    Py_DECREF(callback);
    Py_DECREF(context);
    if (result == NULL) {
        return NULL;
    }
    Py_DECREF(result);
    Py_RETURN_NONE;
}

static PyObject *
signal_wait(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(self);
}

static PyObject *
signal_await(PyObject *self)
{
    return Py_NewRef(self);
}

static PySendResult
signal_send(PyObject *self, PyObject *Py_UNUSED(value), PyObject **result)
{
    Signal *signal = (Signal *)self;

    if (signal->is_set) {
        signal->is_set = 0;
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    signal->is_blocking = 1;
    *result = Py_NewRef(self);
    return PYGEN_NEXT;
}

static PyObject *
signal_next(PyObject *self)
{
    PyObject *result;

    if (signal_send(self, Py_None, &result) == PYGEN_NEXT) {
        return result;
    }
    Py_DECREF(result);
    return NULL; /* StopIteration, with None */
}

/* -- methods that an asyncio task calls ---------------------------------------------------------------------------- */

static PyObject *
signal_get_loop(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return signal_loop((Signal *)self);
}

static PyObject *
signal_add_done_callback(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Signal *signal = (Signal *)self;
    PyObject *callback, *context;

    if (count != 1 || names == NULL || PyTuple_GET_SIZE(names) != 1 || !PyContext_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "add_done_callback() takes a callback and the keyword argument context");
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    callback = signal->callback;
    context = signal->context;
    signal->callback = Py_NewRef(arguments[0]);
    signal->context = Py_NewRef(arguments[1]);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(callback);
    Py_XDECREF(context);
    Py_RETURN_NONE;
}

static PyObject *
signal_done(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((Signal *)self)->callback == NULL);
}

static PyObject *
signal_cancel(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"msg", NULL};
    Signal *signal = (Signal *)self;
    State *state = PyType_GetModuleState(Py_TYPE(self));
    PyObject *message = Py_None, *error, *before;
    int called;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:cancel", names, &message)) {
        return NULL;
    }
    if (signal->callback == NULL) {
        Py_RETURN_FALSE;
    }
    if (find_cancelled_error(state) < 0) {
        return NULL;
    }
    error = message == Py_None ? PyObject_CallNoArgs(state->cancelled_error)
                               : PyObject_CallOneArg(state->cancelled_error, message);
    if (error == NULL) {
        return NULL;
    }
    called = signal_call_soon(signal);
    if (called <= 0) {
        Py_DECREF(error);
        return called < 0 ? NULL : Py_NewRef(Py_False);
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    before = signal->cancelled_by;
    signal->cancelled_by = error;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(before);
    Py_RETURN_TRUE;
}

static PyObject *
signal_result(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Signal *signal = (Signal *)self;
    PyObject *error;

    Py_BEGIN_CRITICAL_SECTION(self);
    error = signal->cancelled_by;
    signal->cancelled_by = NULL;
    Py_END_CRITICAL_SECTION();
    if (error == NULL) {
        Py_RETURN_NONE;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
    return NULL;
}

static PyMethodDef signal_methods[] = {
    {"set", signal_set, METH_NOARGS,
     "set()\n--\n\nWake the waiting task; if none is waiting, let the next wait return immediately."},
    {"set_now", signal_set_now, METH_NOARGS,
     "set_now()\n--\n\nRun the waiting task until it waits again. For event loop callbacks, as the last thing they "
     "do."},
    {"wait", signal_wait, METH_NOARGS,
     "wait()\n--\n\nReturn an awaitable, to await immediately, that waits for a `set` since the last wait."},
    {"get_loop", signal_get_loop, METH_NOARGS, "get_loop()\n--\n\nReturn the event loop."},
    {"add_done_callback", (PyCFunction)(void (*)(void))signal_add_done_callback, METH_FASTCALL | METH_KEYWORDS,
     "add_done_callback(callback, *, context)\n--\n\nCall a function once, at the next `set`."},
    {"done", signal_done, METH_NOARGS, "done()\n--\n\nReturn whether no task is waiting."},
    {"cancel", (PyCFunction)(void (*)(void))signal_cancel, METH_VARARGS | METH_KEYWORDS,
     "cancel(msg=None)\n--\n\nRaise `CancelledError` in the waiting task, unless it was already woken; return whether "
     "it will be raised."},
    {"result", signal_result, METH_NOARGS,
     "result()\n--\n\nRaise the `CancelledError` of a cancelled wait, if there is one."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef signal_members[] = {
    {"_asyncio_future_blocking", T_BOOL, offsetof(Signal, is_blocking), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot signal_slots[] = {
    {Py_tp_doc, "A `Wakeup` that implements the protocol by which asyncio tasks wait for futures."},
    {Py_tp_new, signal_new},
    {Py_tp_dealloc, signal_dealloc},
    {Py_tp_traverse, signal_traverse},
    {Py_tp_clear, signal_forget},
    {Py_tp_iter, signal_await},
    {Py_tp_iternext, signal_next},
    {Py_am_await, signal_await},
    {Py_am_send, signal_send},
    {Py_tp_methods, signal_methods},
    {Py_tp_members, signal_members},
    {0, NULL},
};

static PyType_Spec signal_spec = {
    .name = "anyws.protocol._speedups.Signal",
    .basicsize = sizeof(Signal),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = signal_slots,
};

#endif
