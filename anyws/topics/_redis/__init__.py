"""A client for Redis and Valkey that does what topics need, and no more.

How it fits together: `settings` reads the URL. `protocol` is RESP3 without I/O. A `connection` sends commands and
receives replies and messages, in the order of the wire. A `link` keeps one connection open. A `shard` is a server with
two links, one for messages and one for everything else; `places` knows which shard has a topic: the only one, the
primary that a sentinel names, or one of a cluster. `scripts` run on the server.
"""
