"""The server: accepting, admission, request hooks, hosts, certificates."""
