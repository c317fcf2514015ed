"""The parameters of permessage-deflate that anyws and websockets share, so that both do the same work.

They are the defaults of websockets: https://websockets.readthedocs.io/en/stable/topics/compression.html. picows and
aiohttp have fixed parameters: windows of 32 KiB and memory level 8, with level 6 (picows) and level 1 (aiohttp).
"""

__all__ = ["LEVEL", "MEM_LEVEL", "WINDOW_BITS"]

WINDOW_BITS = 12
MEM_LEVEL = 5
LEVEL = 6
