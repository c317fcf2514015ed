/* What a task of asyncio waits for: `Signal`. The pure twin, in pumps/signals.py, says what it does. */

#ifndef ANYWS_SIGNAL_H
#define ANYWS_SIGNAL_H

#include "_frames.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *loop;
    PyObject *callback, *context; /* go on with the task that waits; NULL: none does */
    PyObject *cancelled_by;       /* a CancelledError that the task is to get, or NULL */
    char is_set, is_blocking;
} Signal;

static int
signal_init(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    PyObject *loop;

    if (check_no_keywords("Signal", keywords) < 0 || !PyArg_ParseTuple(arguments, "O:Signal", &loop)) {
        return -1;
    }
    Py_XSETREF(((Signal *)self)->loop, Py_NewRef(loop));
    return 0;
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

static int
signal_forget(PyObject *self)
{
    Signal *signal = (Signal *)self;

    Py_CLEAR(signal->loop);
    Py_CLEAR(signal->callback);
    Py_CLEAR(signal->context);
    Py_CLEAR(signal->cancelled_by);
    return 0;
}

static void
signal_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    signal_forget(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Take what goes on with the task that waits; return 0 if none does. */
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

/* Let the event loop go on with the task that waits, if one does; return -1 if that failed. */
static int
signal_call_soon(Signal *signal)
{
    PyObject *callback, *context, *call_soon, *keywords, *arguments, *handle = NULL;

    if (!signal_take(signal, &callback, &context)) {
        return 0;
    }
    call_soon = PyObject_GetAttrString(signal->loop, "call_soon");
    arguments = PyTuple_Pack(2, callback, signal);
    keywords = Py_BuildValue("{sO}", "context", context);
    if (call_soon != NULL && arguments != NULL && keywords != NULL) {
        handle = PyObject_Call(call_soon, arguments, keywords);
    }
    Py_XDECREF(call_soon);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    Py_DECREF(callback);
    Py_DECREF(context);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
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
    PyObject *callback, *context, *result = NULL;

    signal->is_set = 1;
    if (!signal_take(signal, &callback, &context)) {
        Py_RETURN_NONE;
    }
    if (PyContext_Enter(context) == 0) {
        result = PyObject_CallOneArg(callback, self);
        if (PyContext_Exit(context) < 0) {
            Py_CLEAR(result);
        }
    }
    Py_DECREF(callback);
    Py_DECREF(context);
    return result;
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

/* -- what a task calls --------------------------------------------------------------------------------------------- */

static PyObject *
signal_get_loop(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(((Signal *)self)->loop);
}

static PyObject *
signal_add_done_callback(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Signal *signal = (Signal *)self;
    PyObject *callback, *context;

    if (count != 1 || names == NULL || PyTuple_GET_SIZE(names) != 1 || !PyContext_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "add_done_callback() takes a callback, and its context by name");
        return NULL;
    }
    signal_take(signal, &callback, &context);
    Py_BEGIN_CRITICAL_SECTION(self);
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

/* Return a new CancelledError. */
static PyObject *
new_cancelled_error(PyObject *message)
{
    PyObject *asyncio = PyImport_ImportModule("asyncio"), *type, *error = NULL;

    type = asyncio == NULL ? NULL : PyObject_GetAttrString(asyncio, "CancelledError");
    if (type != NULL) {
        error = message == Py_None ? PyObject_CallNoArgs(type) : PyObject_CallOneArg(type, message);
    }
    Py_XDECREF(asyncio);
    Py_XDECREF(type);
    return error;
}

static PyObject *
signal_cancel(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"msg", NULL};
    Signal *signal = (Signal *)self;
    PyObject *message = Py_None, *error, *before;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:cancel", names, &message)) {
        return NULL;
    }
    if (signal->callback == NULL) {
        Py_RETURN_FALSE;
    }
    error = new_cancelled_error(message);
    if (error == NULL) {
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(self);
    before = signal->cancelled_by;
    signal->cancelled_by = error;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(before);
    if (signal_call_soon(signal) < 0) {
        return NULL;
    }
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
    {"set", signal_set, METH_NOARGS, "set()\n--\n\nWake the task that waits, or the next one that does."},
    {"set_now", signal_set_now, METH_NOARGS, "set_now()\n--\n\nRun the task that waits until it waits again."},
    {"wait", signal_wait, METH_NOARGS, "wait()\n--\n\nReturn what to await, at once."},
    {"get_loop", signal_get_loop, METH_NOARGS, "get_loop()\n--\n\nReturn the event loop."},
    {"add_done_callback", (PyCFunction)(void (*)(void))signal_add_done_callback, METH_FASTCALL | METH_KEYWORDS,
     "add_done_callback(callback, *, context)\n--\n\nCall back once, at the next set()."},
    {"done", signal_done, METH_NOARGS, "done()\n--\n\nWhether no task waits any more."},
    {"cancel", (PyCFunction)(void (*)(void))signal_cancel, METH_VARARGS | METH_KEYWORDS,
     "cancel(msg=None)\n--\n\nLet the task that waits get a CancelledError, if it was not woken before."},
    {"result", signal_result, METH_NOARGS, "result()\n--\n\nReturn, or raise the CancelledError."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef signal_members[] = {
    {"_asyncio_future_blocking", T_BOOL, offsetof(Signal, is_blocking), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot signal_slots[] = {
    {Py_tp_doc, "What a task of asyncio waits for; see the pure twin."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, signal_init},
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
