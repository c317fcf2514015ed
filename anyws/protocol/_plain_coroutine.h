/* The calls of `PlainPath` as coroutines, and the two types. */

#ifndef ANYWS_PLAIN_COROUTINE_H
#define ANYWS_PLAIN_COROUTINE_H

#include "_plain_call.h"

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
    {"attach", plain_path_attach, METH_VARARGS, "attach(pump, keepalive, now, signal, records, descriptor, /)\n--\n\nUse a socket."},
    {"use_extension", plain_path_use_extension, METH_VARARGS,
     "use_extension(rsv, decode, encode, /)\n--\n\nLet an extension transform the messages."},
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
