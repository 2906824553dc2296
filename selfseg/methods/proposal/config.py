"""Settings of the proposal method; defaults are the paper's unless a comment says otherwise."""

from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from selfseg.config import Config
from selfseg.nets.crop_autoencoder import STRIDE

Share = Annotated[float, Field(gt=0, le=1)]
Widths = Annotated[tuple[PositiveInt, ...], MinLen(2)]
# Their networks normalise channels in 8 groups.
GroupedWidths = Annotated[tuple[Annotated[int, Field(gt=0, multiple_of=8)], ...], MinLen(2)]
Side = Annotated[float, Field(gt=0, lt=1)]


class InpaintersConfig(Config):
    """I and I_f, who guess what a hole in an image, or in its flow, hides."""

    name: Literal["proposal_inpainters"] = "proposal_inpainters"

    widths: GroupedWidths = (16, 32, 64, 128, 256, 512)
    """Channels of I on each of its grids, fine to coarse; each grid is half as fine."""

    flow_widths: GroupedWidths | None = (16, 32, 64, 128, 256, 512)
    """The same for I_f; null: there is none, and no flow is looked at."""

    stride: PositiveInt = 1
    """Pixels of the batch's grid, along each side, to one of the grid that both work on."""

    hole: tuple[Side, Side] = (0.3, 0.5)
    """Least and largest side of the holes they train on; shares of the image's."""

    flow_picture: Literal["colour", "vector"] = "colour"
    """How I_f sees flow: hue for direction and saturation for speed, or as its two components."""

    flow_unit: PositiveFloat = 0.03
    """The speed beyond which flow counts as fast; share of the image's side."""

    flow_turns: PositiveInt = 2
    """Consecutive steps of I for each step of I_f."""


class PerceptualConfig(Config):
    """The network whose features tell how alike two images look."""

    network: Literal["none", "resnet18", "vgg16", "squeezenet1_0"] = "resnet18"
    """none: pixels alone are compared."""

    weights: str = "torchvision"
    """"none" (random), "torchvision" (ImageNet's, downloaded), or path or URL of a state dict in
    torchvision's layout."""

    stride: PositiveInt = 1
    """Pixels of the batch's grid, along each side, to one of the images that it compares."""

    weight: PositiveFloat = 2.0
    """Of the distance between features, beside 1 of that between pixels."""


class DetectorConfig(Config):
    """D: a grid of cells over the image, each with a box and a probability."""

    architecture: Literal["resnet18", "resnet34", "resnet50", "squeezenet1_0", "small"] = "resnet18"
    """torchvision's network that D looks with, or a small one that a CPU can train."""

    weights: str = "torchvision"
    """Initial weights: see `PerceptualConfig.weights`; also "dino" (self-supervised, resnet50)."""

    cells: PositiveInt = 8
    """Cells along each side; C is its square. 1: one box is regressed directly."""

    outer_ring: bool = False
    """Whether cells at the image's border may be drawn; false: 36 of 64 are live."""

    box: tuple[Side, Side] = (0.2, 0.8)
    """Least and largest side of a box, share of the image's; Table 4."""

    first_side: Side | None = None
    """Side that boxes begin with; null: the middle of `box`."""

    offset: NonNegativeFloat = 1.5
    """How far a box's centre may lie from its cell's; sides of a cell."""

    jitter: NonNegativeFloat = 0.05
    """Largest shift of the image that D sees in training; share of its side."""

    @model_validator(mode="after")
    def _has_a_live_cell(self) -> "DetectorConfig":
        if not self.outer_ring and self.cells < 3:
            raise ValueError("a grid of fewer than 3 x 3 cells needs outer_ring = true")
        if self.box[0] >= self.box[1]:
            raise ValueError("the least side of a box comes first")
        _only_known_networks_have_weights(self.architecture, self.weights)
        if self.first_side is not None and not self.box[0] < self.first_side < self.box[1]:
            raise ValueError("first_side lies between the sides of box")
        return self


class AutoencoderConfig(Config):
    """S: what lies in a box, squeezed through a code, as foreground and mask."""

    architecture: Literal["resnet18", "resnet34", "resnet50", "squeezenet1_0", "small"] = "resnet50"
    """torchvision's network that S looks with, or a small one that a CPU can train."""

    weights: str = "torchvision"
    """See `DetectorConfig.weights`."""

    side: PositiveInt = 128
    """Pixels along each side of a crop."""

    code: PositiveInt = 856
    """Numbers that a crop is squeezed into."""

    widths: Widths = (128, 64, 32, 16)
    """Channels of the decoder, on grids of 1/8, 1/4, 1/2 and 1 of the crop."""

    convolutions: PositiveInt = 3
    """Of the decoder on each grid."""

    focal: bool = True
    """Whether a bump that fades towards the box's edges weighs the crop and the mask."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "AutoencoderConfig":
        _only_known_networks_have_weights(self.architecture, self.weights)
        for factor in (STRIDE, 2 ** len(self.widths)):
            if self.side % factor:
                raise ValueError(f"side must be a multiple of {factor}")
        return self


class ProposalConfig(Config):
    """D and S against frozen inpainters: Sections 3.1 to 3.4."""

    name: Literal["proposal"] = "proposal"

    inpainters: InpaintersConfig
    detector: DetectorConfig
    autoencoder: AutoencoderConfig
    perceptual: PerceptualConfig

    inpainter_steps: NonNegativeInt = 0
    """Steps of I and I_f before D and S; 0: they come from another run, see `start`."""

    proposal_steps: PositiveInt
    """Steps of D and S."""

    background: Literal["inpainted", "known"] = "inpainted"
    """B of Eq. 1: what I paints into the erased box; or each video's own background, known because
    the camera rests (Section 3.1), where Eq. 3 alone trains D and S."""

    training: Literal["separate", "joint", "background"] = "separate"
    """Who learns from what: p from G, boxes and S from O; all from both (Fig. 10b); or D from G
    alone (Fig. 10c)."""

    sampling: Literal["importance", "uniform", "gumbel", "all"] = "importance"
    """What the expectation over cells becomes: a draw from q, Eq. 6; a uniform draw (Fig. 10a); a
    Gumbel-Softmax draw (Fig. 10e); or the whole sum, Eq. 2, in C times the time and memory."""

    exploration: Share = 0.01
    """C epsilon of Eq. 6: share of the draws that are uniform."""

    temperature: PositiveFloat = 0.1
    """Of the Gumbel-Softmax."""

    foreground_weight: PositiveFloat = 1.0
    """Weight of O, Eq. 3."""

    background_weight: NonNegativeFloat = 0.1
    """Weight of G, Eq. 4, in the colours and in the flow."""

    flow_weight: NonNegativeFloat = 1.0
    """Weight of G in the flow beside 1 of that in the colours; 0: without flow."""

    by_area: bool = True
    """Whether G is divided by the area of the box, as in Eq. 4."""

    reward_baseline: Literal["none", "batch"] = "none"
    """What is subtracted from the reward of p: nothing; or the mean of the batch's others, whose
    deviation it is then measured in. Either leaves the direction of each image's Eq. 5 unbiased."""

    reward_hole: Side | None = None
    """Side of the hole that p's reward is measured in, share of the image's; null: the box."""

    erased: PositiveFloat = 1.1
    """Side of the erased region, in sides of the box."""

    probability_prior: float = 0.1
    """Weight of the L2 prior on p."""

    mask_prior: Literal["none", "l1", "l2", "v"] = "v"
    """Prior on the mask: Table 3; v is Eq. 7."""

    mask_weight: NonNegativeFloat = 0.25
    """Weight of that prior."""

    mask_lambda: Annotated[float, Field(ge=0, lt=1)] = 0.001
    """lambda of Eq. 7: the mask's mean that it favours. 0.005 in the text, 0.001 in Table 4's best
    row."""

    size_weight: NonNegativeFloat = 0.0
    """Weight of the squared distance between the boxes' mean side and `size`."""

    size: Side = 0.4
    """Mean side, share of the image's, that boxes are held to."""

    centre_weight: NonNegativeFloat = 0.0
    """Weight of the squared distance between the boxes' mean centre and the image's."""

    extent_weight: NonNegativeFloat = 0.0
    """Weight of how much a box holds, per area, of the flow that I_f cannot explain."""

    extent_share: Share = 0.15
    """How much of that a box's edge must meet to be moved outwards; 0.5: as much, along all of the
    edge, as there is within the box on average."""

    outline_weight: NonNegativeFloat = 0.0
    """Weight of how much a mask holds, per area, of the same."""

    outline_share: Share = 0.3
    """How much of it a pixel must hold to be the object's; 0.5: as much as the mask's do on
    average."""

    surroundings: PositiveFloat = 1.5
    """Side of the hole that both are measured in, in sides of the box."""

    warmup_steps: NonNegativeInt = 0
    """Steps in which O does not move boxes, and at the end of which the mask prior comes in."""

    crop_weight: NonNegativeFloat = 0.0
    """Weight, during the warm-up, of S's foreground looking like its whole crop."""

    overlap: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Overlap, as intersection over union, from which two boxes are taken for one object."""

    @model_validator(mode="after")
    def _looks_at_flow_it_can_inpaint(self) -> "ProposalConfig":
        if self.flow_weight and self.inpainters.flow_widths is None:
            raise ValueError("flow_weight needs inpainters.flow_widths, or set it to 0")
        for name in ("extent_weight", "outline_weight"):
            if getattr(self, name) and (not self.flow_weight or self.background == "known"):
                raise ValueError(f"{name} needs G in the flow: set {name} = 0")
        return self

    @model_validator(mode="after")
    def _has_what_its_choices_speak_of(self) -> "ProposalConfig":
        if self.background == "known" and self.training == "background":
            raise ValueError('training = "background" needs G: set background = "inpainted"')
        if self.sampling == "all" and self.reward_baseline != "none":
            raise ValueError('sampling = "all" has no noise: set reward_baseline = "none"')
        return self


def _only_known_networks_have_weights(architecture: str, weights: str) -> None:
    if architecture == "small" and weights != "none":
        raise ValueError('a small network has no initial weights: set weights = "none"')
