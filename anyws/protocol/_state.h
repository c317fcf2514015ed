/* The state of the module in each interpreter. */

#ifndef ANYWS_STATE_H
#define ANYWS_STATE_H

#include "_frames.h"

typedef struct {
    PyObject *cancelled_error; /* asyncio.CancelledError; NULL until the first signal is created */
    PyTypeObject *payload_type, *message_queue_type, *frame_queue_type, *signal_type, *call_type;
    PyObject *last_heard, *decrypt, *encrypt_piece, *is_quiet; /* interned names */
    char keeps_memory; /* see `keep_memory` */
    void *read_buffer; /* for one read at a time; NULL before the first read, and during a read */
} State;

#endif
