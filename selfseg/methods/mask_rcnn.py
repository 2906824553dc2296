"""Mask R-CNN as torchvision trained it: supervised, a mark to compare what learns without labels.

He, Gkioxari, Dollar, Girshick, "Mask R-CNN", 2017, with a ResNet-50, feature pyramids and the
stronger heads of Li et al., "Benchmarking detection transfer learning with vision transformers",
2021; trained on the annotated objects of COCO.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.models.detection import (
    MaskRCNN_ResNet50_FPN_V2_Weights,
    maskrcnn_resnet50_fpn_v2,
)
from torchvision.ops import box_convert

from selfseg.contracts import Detections
from selfseg.nets.weights import download_weights, read_weights, require_weights_of
from selfseg.ops.boxes import covered

TORCHVISION = "torchvision"
"""Names the weights that torchvision publishes."""


class MaskRCNN:
    """A detector of the objects of COCO, whatever their class.

    Args:
        weights: "torchvision", downloaded; or the http(s) or s3:// URL or the path of a state dict
            of torchvision's maskrcnn_resnet50_fpn_v2.
        device: where it computes.

    Raises:
        UserError: no such weights, or those of another network.
    """

    def __init__(self, weights: str, device: torch.device) -> None:
        self.network = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
        given = _read(weights)
        own = self.network.state_dict()
        require_weights_of("maskrcnn_resnet50_fpn_v2", own, given, weights)
        self.network.load_state_dict(given)
        self.network.to(device).eval()

    def detect(self, image: Float[Tensor, "3 h w"], *, objects: int = 1) -> Detections:
        """Find at most `objects`, of any class, the most confident first; none where it is unsure.

        It has no grid: each object is a cell of its own. The control is the filled box.
        """
        height, width = image.shape[1:]
        (found,) = self.network([image])
        sides = image.new_tensor([width, height, width, height])
        corners = found["boxes"][:objects] / sides
        confidence = found["scores"][:objects]
        middles = box_convert(corners, "xyxy", "cxcywh")
        return Detections(
            boxes=box_convert(corners, "xyxy", "xywh"),
            confidence=confidence,
            masks=found["masks"][:objects, 0],
            bumps=covered(middles, height, width)[:, 0],
            cells=torch.arange(len(corners), device=image.device),
            centres=middles[:, :2],
            probability=confidence / confidence.sum(),
        )


def _read(weights: str) -> dict[str, Tensor]:
    if weights == TORCHVISION:
        return download_weights(MaskRCNN_ResNet50_FPN_V2_Weights.DEFAULT.url)
    if weights.startswith(("http://", "https://")):
        return download_weights(weights)
    return read_weights(weights)
