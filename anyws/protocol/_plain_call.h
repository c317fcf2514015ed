/* What a call of `PlainPath` does, step by step, when it is awaited. */

#ifndef ANYWS_PLAIN_CALL_H
#define ANYWS_PLAIN_CALL_H

#include "_plain_read.h"
#include "_plain_write.h"

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

#endif
