"""The server: accepting connections, limits, request hooks, virtual hosts, certificates."""
