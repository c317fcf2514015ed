"""The command line: ``anyws connect``, ``serve``, ``ping``, ``load`` and ``demo``."""
