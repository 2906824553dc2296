"""Which nodes are about to be taken away: spot machines under notice, pods that are to end."""

import threading
import time
from collections.abc import Callable, Collection

from ray._private.state import state

from selfseg.training.watchdog import BEAT_S

ANSWER_S = 0.1
"""How long who asks waits for Ray's answer, which takes less than a millisecond as a rule."""


class DrainingNodes:
    """Ids of the nodes that Ray drains, as it told within the last beat.

    Ray's control store is asked at most once a beat. It may be away for minutes, and the call
    knows no timeout, so it is made in a thread; meanwhile the last answer holds.
    """

    def __init__(
        self,
        ask: Callable[[], Collection[str]] = state.get_draining_nodes,  # nothing public tells
    ) -> None:
        self._ask = ask
        self._ids: Collection[str] = ()
        self._asking: threading.Thread | None = None
        self._asked_at = -BEAT_S

    def __contains__(self, node_id: str) -> bool:
        """Tell whether a node is being taken away."""
        now = time.monotonic()
        if now - self._asked_at >= BEAT_S and not (self._asking and self._asking.is_alive()):
            self._asked_at = now
            self._asking = threading.Thread(target=self._hear, daemon=True)
            self._asking.start()
            self._asking.join(ANSWER_S)
        return node_id in self._ids

    def _hear(self) -> None:
        self._ids = self._ask()
