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
    its box: they speak of the same object, and their probabilities add up to its confidence.
    """
    proposals = proposer.propose(image.unsqueeze(0))
    cells, confidence = distinct(proposals, config.overlap)
    cells, confidence = cells[:objects], confidence[:objects]
    boxes = proposals.boxes[0, cells]
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
) -> tuple[Int64[Tensor, " k"], Float[Tensor, " k"]]:
    """Return cells of one image whose boxes do not overlap, and the probability each stands for.

    Neighbouring cells often propose the same box, and share its probability; so the object with
    most of it in all comes first, not the cell.

    Args:
        proposals: of one image.
        overlap: intersection over union from which boxes overlap.
    """
    # A cell that is never drawn has a box that nobody trained.
    drawn = proposals.probability[0].nonzero()[:, 0]
    probability, boxes = proposals.probability[0, drawn], corners(proposals.boxes[0, drawn])
    kept = nms(boxes, probability, overlap)
    # A box that overlaps several kept ones speaks for the one that it overlaps most.
    owner = box_iou(boxes, boxes[kept]).argmax(1)
    confidence = torch.zeros_like(probability[kept]).index_add(0, owner, probability)
    order = confidence.argsort(descending=True, stable=True)
    return drawn[kept[order]], confidence[order]
