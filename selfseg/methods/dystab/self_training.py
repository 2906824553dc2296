"""chi for stills: trained on by its own masks, refined by a CRF (Section 5.6 of the paper).

It begins with the chi of a bootstrapped run, see `start`, and needs images alone: stills, or the
frames of videos. Nothing is kept: each batch is labelled as it passes.
"""

from collections.abc import Collection

from jaxtyping import Float
from torch import Generator, Tensor

from selfseg.contracts import FramePairs, Objective, Phase, View
from selfseg.methods.dystab.config import SelfTrainingConfig
from selfseg.methods.dystab.labels import refined, split
from selfseg.methods.dystab.static import StaticModel


class SelfTraining:
    """`static` (chi), and who labels its images: `earlier` (chi'), chi as a round began."""

    views: tuple[View, ...] = ("static",)
    supervised = False
    wants_motion = False
    wants_background = False

    def __init__(self, config: SelfTrainingConfig) -> None:
        self.config = config
        self.static = StaticModel(config.static)
        self.players = self.static.players
        self.phases = phases(config)

    def initialise(self, fresh: Collection[str]) -> None:
        """Leave the weights to `start`, where chi has learned already."""

    def prepare(self, step: int) -> None:
        """Freeze chi' as chi is when a round begins."""
        if step % self.config.static_steps == 0:
            self.static.remember()

    def player_at(self, step: int) -> str:
        """Let chi move at every step."""
        del step
        return "static"

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        """chi: maximise F_alpha, Eq. 6, with the refined mask of chi' in the place of m."""
        del player, step, generator
        seen = self.static.earlier_masks(batch.image)
        if self.config.threshold == "otsu":
            seen = split(seen)
        mask = refined(batch.image, seen, stride=1)
        logits = self.static.logits(batch.image)
        gain = self.static.likeness(logits, mask).mean()
        terms = {
            "with_refined": gain.detach(),
            "refined_area": mask.mean(),
            "area": logits.detach().sigmoid().mean(),
        }
        return Objective(-gain, terms)

    def segment(self, frame: FramePairs, view: View) -> Float[Tensor, "h w"]:
        """Return foreground probability, [0, 1], by chi."""
        del view
        return self.static.masks(frame.image[:1])[0, 0]


def phases(config: SelfTrainingConfig) -> tuple[Phase, ...]:
    """Lay the rounds out in steps."""
    return tuple(
        Phase(f"round {k}", (k - 1) * config.static_steps, k * config.static_steps, completes=k)
        for k in range(1, config.rounds + 1)
    )
