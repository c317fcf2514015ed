"""Topics: publish and subscribe, in this process or over an engine that several processes share.

Start with `anyws.open_topics`. What is here is for type annotations, and for those who write an `anyws.Engine`.
"""

from anyws._names import claim_names

from .engine import Engine, EngineListener, Position
from .forwarding import Forwarding
from .history import History
from .local import LocalEngine
from .published import Published
from .subscription import Subscription
from .topics import Topics

__all__ = ["EngineListener", "Forwarding", "LocalEngine", "Position", "Subscription"]

claim_names(globals())
_OF_ANYWS = {"Engine": Engine, "History": History, "Published": Published, "Topics": Topics}
claim_names({"__name__": "anyws", **_OF_ANYWS}, [*_OF_ANYWS])
