"""D and S as one module: from an image to drawn boxes and what lies in them, in one forward pass.

One module, because one backward pass moves both and the loop averages the gradients of what it
wraps: see `Cast` in selfseg/training/loop.py.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from selfseg.methods.proposal.config import ProposalConfig
from selfseg.methods.proposal.crops import Decoded, decode
from selfseg.methods.proposal.grid import Proposals, chosen, live_cells, read_grid
from selfseg.methods.proposal.sampling import draw_cells
from selfseg.nets.crop_autoencoder import CropAutoencoder
from selfseg.nets.grid_detector import GridDetector
from selfseg.ops.boxes import crop


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn for a batch: k cells of each of b images, n = b k, image by image.

    image: the images, each k times
    boxes: of the drawn cells, with D's gradient
    weight: of each in its image's expectation, differentiable in p
    """

    image: Float[Tensor, "n 3 h w"]
    proposals: Proposals
    boxes: Float[Tensor, "n 4"]
    weight: Float[Tensor, " n"]
    decoded: Decoded


class Proposer(nn.Module):
    """`detector` (D) and `autoencoder` (S)."""

    def __init__(self, config: ProposalConfig) -> None:
        super().__init__()
        self.config = config
        detector, autoencoder = config.detector, config.autoencoder
        self.detector = GridDetector(
            detector.cells,
            architecture=detector.architecture,
            pretrained=detector.weights != "none",
        )
        self.autoencoder = CropAutoencoder(
            autoencoder.side,
            architecture=autoencoder.architecture,
            pretrained=autoencoder.weights != "none",
            code=autoencoder.code,
            widths=autoencoder.widths,
            convolutions=autoencoder.convolutions,
        )

    def forward(
        self, image: Float[Tensor, "b 3 h w"], generator: Generator, *, hold_boxes: bool
    ) -> Drawn:
        """Propose, draw, and look into the drawn boxes.

        Args:
            image: RGB, [0, 1].
            generator: where the draws come from.
            hold_boxes: give O no way to move boxes.
        """
        proposals = self.propose_shifted(image, generator)
        live = live_cells(self.config.detector, image.device)
        draw = draw_cells(proposals.probability, live, self.config, generator)
        each = image.repeat_interleave(draw.cells.shape[1], 0)
        boxes = chosen(proposals.boxes, draw.cells)
        looked_at = boxes.detach() if hold_boxes else boxes
        decoded = decode(self.autoencoder, each, looked_at, self.config.autoencoder)
        return Drawn(each, proposals, boxes, draw.weight.flatten(), decoded)

    def propose(self, image: Float[Tensor, "b 3 h w"]) -> Proposals:
        """Return D's boxes and their probabilities."""
        laid_out = image.contiguous(memory_format=torch.channels_last)
        return read_grid(self.detector(laid_out), self.config.detector)

    def propose_shifted(self, image: Float[Tensor, "b 3 h w"], generator: Generator) -> Proposals:
        """Let D see the images shifted a little; its boxes are brought back to where they were."""
        drawn = torch.rand(len(image), 2, generator=generator, device=image.device)
        shift = (2 * drawn - 1) * self.config.detector.jitter
        window = torch.cat([0.5 + shift, torch.ones_like(shift)], 1)
        seen = self.propose(crop(image, window, *image.shape[-2:], beyond="border"))
        back = torch.cat([shift, torch.zeros_like(shift)], 1).unsqueeze(1)
        return Proposals(seen.boxes + back, seen.probability)
