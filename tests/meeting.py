"""Threads in the place of workers that tell each other something."""

import threading
from collections.abc import Callable


class Meeting:
    """Threads that say something each and hear what all have said."""

    def __init__(self, seats: int, note: Callable[[list[str]], None] = lambda heard: None) -> None:
        """Seat so many; `note` is told what was said each time."""
        self._said = [""] * seats
        self._note = note
        self._arrive, self._leave = (threading.Barrier(seats, timeout=60) for _ in range(2))

    def seat(self, rank: int) -> Callable[[str], list[str]]:
        def gather(text: str) -> list[str]:
            self._said[rank] = text
            self._arrive.wait()
            heard = list(self._said)
            if rank == 0:
                self._note(heard)
            self._leave.wait()
            return heard

        return gather
