"""Topics: publish and subscribe, in this process or over an engine that several processes share.

Start with `anyws.open_topics`. What is here is for type annotations, and for those who write an `anyws.Engine`.
"""

from anyws._names import claim_names

from .engine import EngineListener, Position
from .forwarding import Forwarding
from .local import LocalEngine
from .subscription import Subscription

__all__ = ["EngineListener", "Forwarding", "LocalEngine", "Position", "Subscription"]

claim_names(globals())
