/* The compiled twin of _pure.py, _queues.py, _connection/pumps/signals.py and _connection/plain_path.py: the inner loops
 * over bytes (RFC 6455, sections 5.2, 5.3, 5.6), the queues, the signal that tasks wait for, and the plain path, which
 * alone does I/O.
 *
 * The rule of these files: they do exactly what the pure twins do, with the same arguments and results, and make no
 * decisions of their own. All state is in the objects and in the module object, so each interpreter can have its own
 * GIL, or none.
 */

#include "_frames.h"
#include "_payload.h"
#include "_plain_coroutine.h"

/* -- functions ----------------------------------------------------------------------------------------------------- */

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
        return PyErr_Format(PyExc_ValueError, "masking key of 0 bytes, expected 4 (RFC 6455, section 5.3)");
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

static int
append_to_list(void *list, PyObject *message)
{
    return PyList_Append((PyObject *)list, message);
}

static PyObject *
take_messages(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Py_ssize_t position, max_size, room;
    PyObject *decode = count == 8 ? arguments[7] : Py_None;
    int masked, rsv = 0;

    if ((count != 8 && check_count("take_messages", count, 6) < 0) || check_bytes(arguments[0]) < 0 ||
        (count == 8 && (rsv = read_decoder(arguments[6], decode)) < 0)) {
        return NULL;
    }
    position = PyNumber_AsSsize_t(arguments[1], PyExc_OverflowError);
    masked = read_masked(arguments[2]);
    max_size = PyNumber_AsSsize_t(arguments[3], PyExc_OverflowError);
    room = PyNumber_AsSsize_t(arguments[4], PyExc_OverflowError);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (position < 0 || position > PyBytes_GET_SIZE(arguments[0])) {
        return PyErr_Format(PyExc_ValueError, "position %zd is not within the data", position);
    }
    if (!PyList_Check(arguments[5])) {
        return PyErr_Format(PyExc_TypeError, "messages must be a list, not %.100s", Py_TYPE(arguments[5])->tp_name);
    }
    if (append_messages((const unsigned char *)PyBytes_AS_STRING(arguments[0]), PyBytes_GET_SIZE(arguments[0]),
                        &position, masked, max_size, &room, append_to_list, arguments[5], rsv, decode) < 0) {
        return NULL;
    }
    return Py_BuildValue("nn", position, room);
}

static PyObject *
build_frame(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    const unsigned char *key;
    int first;

    if (check_count("build_frame", count, 3) < 0 || read_key(arguments[2], &key) < 0) {
        return NULL;
    }
    first = read_first(arguments[0]);
    return first < 0 ? NULL : frame_of(first, arguments[1], key);
}

/* -- the module ---------------------------------------------------------------------------------------------------- */

/* Add a type to the module, and remember it in the state if that has a place for it. */
static int
add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **place)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);

    if (!failed && place != NULL) {
        Py_XSETREF(*place, (PyTypeObject *)Py_NewRef(type));
    }
    Py_XDECREF(type);
    return failed;
}

static int
add_types(PyObject *module)
{
    State *state = PyModule_GetState(module);

    state->last_heard = PyUnicode_InternFromString("last_heard");
    state->decrypt = PyUnicode_InternFromString("decrypt");
    state->encrypt_piece = PyUnicode_InternFromString("encrypt_piece");
    state->is_quiet = PyUnicode_InternFromString("is_quiet");
    if (!state->last_heard || !state->decrypt || !state->encrypt_piece || !state->is_quiet) {
        return -1;
    }
    return add_type(module, &payload_spec, &state->payload_type) || add_type(module, &message_queue_spec, &state->message_queue_type) ||
                   add_type(module, &frame_queue_spec, &state->frame_queue_type) ||
                   add_type(module, &signal_spec, &state->signal_type) ||
                   add_type(module, &call_spec, &state->call_type) || add_type(module, &plain_path_spec, NULL)
               ? -1
               : 0;
}

static int
visit_state(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);

    Py_VISIT(state->cancelled_error);
    Py_VISIT(state->payload_type);
    Py_VISIT(state->message_queue_type);
    Py_VISIT(state->frame_queue_type);
    Py_VISIT(state->signal_type);
    Py_VISIT(state->call_type);
    return 0;
}

static int
clear_state(PyObject *module)
{
    State *state = PyModule_GetState(module);

    Py_CLEAR(state->cancelled_error);
    Py_CLEAR(state->last_heard);
    Py_CLEAR(state->decrypt);
    Py_CLEAR(state->encrypt_piece);
    Py_CLEAR(state->is_quiet);
    Py_CLEAR(state->payload_type);
    Py_CLEAR(state->message_queue_type);
    Py_CLEAR(state->frame_queue_type);
    Py_CLEAR(state->signal_type);
    Py_CLEAR(state->call_type);
    return 0;
}

static void
free_state(void *module)
{
    clear_state(module);
    PyMem_Free(((State *)PyModule_GetState(module))->read_buffer);
}

static PyMethodDef functions[] = {
    {"apply_mask", (PyCFunction)(void (*)(void))apply_mask, METH_FASTCALL,
     "apply_mask(data, key, /)\n--\n\nXOR the data with the repeated masking key, to mask or unmask it (RFC 6455, "
     "section 5.3)."},
    {"build_frame", (PyCFunction)(void (*)(void))build_frame, METH_FASTCALL,
     "build_frame(first, payload, masking_key, /)\n--\n\nReturn the bytes of a frame."},
    {"take_messages", (PyCFunction)(void (*)(void))take_messages, METH_FASTCALL,
     "take_messages(data, position, masked, max_size, room, messages, rsv=0, decode=None, /)\n--\n\nAppend the next messages as long as "
     "each is a single complete frame without reserved bits, or with ``rsv``."},
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
    .m_doc = "The inner loops over bytes and the queues, compiled.",
    .m_size = sizeof(State),
    .m_traverse = visit_state,
    .m_clear = clear_state,
    .m_free = free_state,
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
