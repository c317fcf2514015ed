"""One running connection: `WebSocket`, its life, sending, receiving and keepalive."""
