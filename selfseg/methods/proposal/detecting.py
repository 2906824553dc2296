"""A trained D and S on one image: several objects by repeated draws (Section 4.5)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import box_iou, nms

from selfseg.contracts import Detections
from selfseg.methods.proposal.config import ProposalConfig
from selfseg.methods.proposal.crops import bumps, decode
from selfseg.methods.proposal.grid import Proposals, cell_centres
from selfseg.methods.proposal.proposer import Proposer
from selfseg.ops.boxes import corners


def detect(
    proposer: Proposer, image: Float[Tensor, "3 h w"], objects: int, config: ProposalConfig
) -> Detections:
    """Find at most `objects` boxes, the most confident first, and outline what is in them.

    Each draw takes the most probable cell that is left, and with it all cells whose boxes overlap
    its box: they speak of the same object. Its box is the mean of theirs, by probability, which is
    what draws from p would give on average, and their probabilities add up to its confidence.
    """
    proposals = proposer.propose(image.unsqueeze(0))
    cells, boxes, confidence = distinct(proposals, config.overlap)
    cells, boxes, confidence = cells[:objects], boxes[:objects], confidence[:objects]
    each = image.expand(len(cells), -1, -1, -1)
    height, width = image.shape[-2:]
    mask = decode(proposer.autoencoder, each, boxes, config.autoencoder).mask
    lengths = boxes[:, 2:]
    return Detections(
        boxes=torch.cat([boxes[:, :2] - lengths / 2, lengths], 1),
        confidence=confidence,
        masks=mask[:, 0],
        bumps=bumps(boxes, config.autoencoder, height, width)[:, 0],
        cells=cells,
        centres=cell_centres(config.detector.cells, image.device),
        probability=proposals.probability[0],
    )


def distinct(
    proposals: Proposals, overlap: float
) -> tuple[Int64[Tensor, " k"], Float[Tensor, "k 4"], Float[Tensor, " k"]]:
    """Return cells of one image whose boxes do not overlap, and what each stands for.

    That is the mean box of all that speak of the same object, and their probability.

    Neighbouring cells often propose the same box, and share its probability; so the object with
    most of it in all comes first, not the cell.

    Args:
        proposals: of one image.
        overlap: intersection over union from which boxes overlap.
    """
    # A cell that is never drawn has a box that nobody trained.
    drawn = proposals.probability[0].nonzero()[:, 0]
    probability, boxes = proposals.probability[0, drawn], proposals.boxes[0, drawn]
    reach = corners(boxes)
    kept = nms(reach, probability, overlap)
    # A box that overlaps several kept ones speaks for the one that it overlaps most.
    owner = box_iou(reach, reach[kept]).argmax(1)
    confidence = torch.zeros_like(probability[kept]).index_add(0, owner, probability)
    weight = (probability / confidence[owner]).unsqueeze(1)
    mean = torch.zeros_like(boxes[kept]).index_add(0, owner, weight * boxes)
    order = confidence.argsort(descending=True, stable=True)
    return drawn[kept[order]], mean[order], confidence[order]
