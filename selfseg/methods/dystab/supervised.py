"""The supervised row of DyStaB's Table 3: phi and chi fine-tuned on annotated frames.

The only method here that is shown a label. It starts from a bootstrapped run, see `start`.
"""

from collections.abc import Collection

from jaxtyping import Float
from torch import Generator, Tensor, nn

from selfseg.contracts import FramePairs, Objective, Phase, View
from selfseg.methods.dystab.config import SupervisedConfig
from selfseg.methods.dystab.dynamic import DynamicModel
from selfseg.methods.dystab.fusion import VIEWS, segment
from selfseg.methods.dystab.static import StaticModel
from selfseg.ops.masks import resize


class Supervised:
    """Two players who never meet: `static` (chi) and `segmenter` (phi)."""

    views: tuple[View, ...] = VIEWS
    phases: tuple[Phase, ...] = ()
    supervised = True
    wants_motion = True
    wants_background = False

    def __init__(self, config: SupervisedConfig) -> None:
        self.config = config
        self.dynamic, self.static = DynamicModel(config.dynamic), StaticModel(config.static)
        self.players = nn.ModuleDict(
            {
                "static": self.static.players["static"],
                "segmenter": self.dynamic.players["segmenter"],
            }
        )
        self.dynamic.players = self.static.players = self.players

    def initialise(self, fresh: Collection[str]) -> None:
        """Load the initial weights of chi's encoder."""
        self.static.initialise(fresh)

    def prepare(self, step: int) -> None:
        """Change nothing between two steps."""

    def player_at(self, step: int) -> str:
        """Let chi and phi move in turn."""
        return "segmenter" if step % 2 else "static"

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        """Score either's mask against the annotated one."""
        del step, generator
        assert batch.truth is not None
        if player == "static":
            logits = self.static.logits(batch.image)
        else:
            logits = self.dynamic.logits(batch)
        truth = resize(batch.truth, *logits.shape[-2:])
        gain = self.static.likeness(logits, truth).mean()
        area = logits.detach().sigmoid().mean()
        return Objective(-gain, {"with_truth": gain.detach(), "area": area})

    def segment(self, frame: FramePairs, view: View) -> Float[Tensor, "h w"]:
        """Return foreground probability, [0, 1]: by phi, by chi, or by both."""
        return segment(self.dynamic, self.static, frame, view, rule=self.config.fusion)
