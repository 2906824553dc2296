"""A run that goes on to newer states of its collection as others add videos to it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import NonNegativeInt

from selfseg import storage
from selfseg.config import Config
from selfseg.data.format.manifest import SHOWN_DIGITS, Manifest, lineage, newest_id
from selfseg.errors import UserError


class Move(Config):
    """From which step on a run reads which state of its collection."""

    step: NonNegativeInt
    manifest: str


class Follower:
    """Looks for newer states of a collection, and knows which ones the run has read.

    All workers hold one and go the same way: one of them looks, the others are told.
    """

    def __init__(
        self,
        collection_url: str,
        manifest_id: str,
        *,
        looks: bool,
        agree: Callable[[str], str],
        tell: Callable[[str], None],
    ) -> None:
        """Begin with a state of the collection.

        Args:
            collection_url: where it lies.
            manifest_id: the state that the run begins with.
            looks: whether this worker is the one that looks.
            agree: from a text to that of the worker that looks; collective.
            tell: hears in a line of a move, and of a state that the run does not move to.
        """
        self._url, self._looks, self._agree, self._tell = collection_url, looks, agree, tell
        self._refused = ""
        self.moves: tuple[Move, ...] = (Move(step=0, manifest=manifest_id),)

    def state(self) -> list[dict[str, Any]]:
        """Return what a resumed run must know: every move so far."""
        return [move.model_dump() for move in self.moves]

    def restore(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Take over what `state` returned, from among what a run has to know."""
        self.moves = tuple(Move.model_validate(entry) for entry in state if "manifest" in entry)

    def look(self, step: int, admit: Callable[[Sequence[Move]], object]) -> bool:
        """Tell whether the collection has grown and the run goes on with it from `step` on.

        Collective. A state that did not grow from the one that is read, or that `admit` refuses,
        is not gone on with; nor does a place that is out of reach while it looks end a run.

        Args:
            step: the one to come.
            admit: raises a UserError where the run could not go on with the last of these moves.
        """
        found = self._agree(self._newer(step, admit) if self._looks else "")
        if found:
            self.moves = (*self.moves, Move(step=step, manifest=found))
        return bool(found)

    def _newer(self, step: int, admit: Callable[[Sequence[Move]], object]) -> str:
        """Return the id of the newest state if it is one to go on with, else ""."""
        current, newest = self.moves[-1].manifest, ""
        try:
            with storage.impatient():  # another look will come; training does not wait for this one
                newest = newest_id(self._url) or ""
                if newest in {current, self._refused, ""}:
                    return ""
                now, before = self._grown(newest, current)
                admit((*self.moves, Move(step=step, manifest=newest)))
        except storage.StorageError as error:
            self._tell(f"step {step}: no look at whether the collection has grown: {error}")
            return ""
        except UserError as error:
            self._refused = newest
            self._tell(
                f"{self._url}: the run does not go on with manifest "
                f"{newest[:SHOWN_DIGITS]}: {error}"
            )
            return ""
        added = len(now.videos) - len(before.videos)
        self._tell(
            f"step {step}: the collection has grown by {added} videos; the run goes on with "
            f"manifest {newest[:SHOWN_DIGITS]}"
        )
        return newest

    def _grown(self, newest: str, current: str) -> tuple[Manifest, Manifest]:
        """Return the two states, the newest first.

        Raises:
            UserError: it is no ancestor of the newest.
        """
        now = None
        for ancestor, manifest in lineage(self._url, newest):
            now = now or manifest
            if ancestor == current:
                return now, manifest
        raise UserError(f"it did not grow from {current[:SHOWN_DIGITS]}, which the run reads")
