"""The command line: ``anyws connect``, ``anyws serve`` and ``anyws demo``."""
