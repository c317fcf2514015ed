"""AnyIO byte streams and listeners for TCP and unix sockets."""
