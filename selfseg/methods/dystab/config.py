"""Settings of DyStaB's dynamic model; defaults are the paper's unless a comment says otherwise."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    NonPositiveFloat,
    PositiveFloat,
    PositiveInt,
)

from selfseg.config import Config

Share = Annotated[float, Field(ge=0, le=1)]


class DynamicConfig(Config):
    """The motion-segmentation game of phi, the segmenter, against psi, the inpainter."""

    name: Literal["dystab_dynamic"] = "dystab_dynamic"

    segmenter: Literal["deeplab", "unet"] = "deeplab"
    """phi: DeepLabV3 on a ResNet-50, or a small U-Net that a CPU can train."""

    stride: PositiveInt = 1
    """Pixels of the batch's grid, along each side, to one of the grid that phi and psi work on."""

    unet_width: Annotated[int, Field(gt=0, multiple_of=8)] = 16
    """Channels of the U-Net's first stage."""

    psi: Literal["network", "affine", "affine_residual"] = "network"
    """The inpainter: the paper's network; the affine motion that fits the context best, a closed
    form with nothing to learn; or the network completing what that affine motion leaves over."""

    segmenter_turns: PositiveInt = 3
    """Consecutive steps of phi for each step of psi."""

    segmenter_input: Literal["standardised", "compensated"] = "standardised"
    """What phi sees: flow of zero mean and unit spread, or flow without the camera's share in units
    of twice its own Otsu threshold."""

    flow_unit: Literal["fixed", "relative"] = "fixed"
    """Unit of flow in Eq. 3: 80 pixels of a frame 854 wide, or the flow's 95th percentile."""

    epsilon: PositiveFloat = 5e-4
    """Eq. 3: motion below this counts as none; in the unit of flow, mean over the frame."""

    bounded_error: bool = False
    """Whether a guess of psi that is worse than none counts as none; see objective.py."""

    lambda_tc: NonPositiveFloat = -0.1
    """Eq. 5: weight of temporal inconsistency in what phi maximises. Sec. 5.1's penalty of 1.0 is
    -1.0 here; 0 is CIS, the method before."""

    imitation_steps: NonNegativeInt = 0
    """Steps of the run in which phi imitates a classical cue instead of playing; 0: none, as in
    the paper."""

    imitation_weight: NonNegativeFloat = 0.0
    """Weight of the imitation beside Eq. 5 after these steps."""

    carried_cue: Share = 1.0
    """The imitated cue's share that the other frame's motion gives, carried along the flow; the
    rest is given by the very motion that phi sees."""

    carried_mask: Share = 0.0
    """A prediction's share that phi's mask of the other frame gives, carried along the flow; 0:
    phi(u12) alone, as in the paper."""


class StaticConfig(Config):
    """chi, the static model, which learns from phi's masks to see the object in a single image."""

    network: Literal["deeplab", "pyramid"] = "deeplab"
    """DeepLab's head on the encoder, or a light decoder that a CPU can train."""

    encoder: Literal["resnet18", "resnet34", "resnet50", "squeezenet1_0"] = "resnet34"
    """torchvision's network that chi's encoder is."""

    weights: str = "none"
    """Initial weights of the encoder: "none", "torchvision" (ImageNet's, downloaded), "dino"
    (self-supervised, downloaded; resnet50), or path or URL of a state dict in torchvision's
    layout."""

    alpha_squared: PositiveFloat = 1.5
    """Eq. 6: how much a miss costs beside a false alarm."""

    likeness: Literal["f_measure", "f_measure_and_entropy"] = "f_measure"
    """How chi's mask is compared with another: F_alpha; or F_alpha less the cross-entropy, which
    leaves doubt where the other one doubts."""

    confidence: Literal["separation", "contrast", "none"] = "separation"
    """What tells how much the motion speaks for a mask: L_A, as in Eq. 7; how much worse psi
    guesses inside it than outside; or nothing, so that all weigh 1 and chi' is not heard, Eq. 6."""

    delta: float = 0.2
    """Eq. 7: by how much the motion must speak more for phi's mask than for that of chi'."""

    first_delta: float = 0.2
    """The same when chi is trained for the first time, where L_A(chi') counts as 0."""

    refinement: Share = 0.0
    """Share of a dense CRF's refinement in the masks that chi learns from; all of it would make
    chi so sure that nothing refines its own masks any more."""

    refined: Literal["dynamic", "fused"] = "dynamic"
    """What that CRF refines: phi's mask; or phi's fused with that of chi', once there is one."""

    lambda_f: NonNegativeFloat = 1.0
    """Eq. 7: weight of staying with chi', from the second training on."""


class BootstrapConfig(Config):
    """Algorithm 1: phi by Eq. 5, then rounds of chi by Eq. 7 and phi by Eq. 8."""

    name: Literal["dystab_bootstrap"] = "dystab_bootstrap"

    dynamic: DynamicConfig

    static: StaticConfig

    initial_steps: NonNegativeInt
    """Steps of phi and psi before the first round; 0: they come from another run, see `start`."""

    rounds: PositiveInt = 3
    """Rounds of the bootstrap."""

    static_steps: PositiveInt
    """Steps of chi in each round."""

    dynamic_steps: PositiveInt
    """Steps of phi and psi in each round."""

    round_rate: PositiveFloat = 1.0
    """Share of the learning rates that holds in every training after a model's first."""

    lambda_obj: NonNegativeFloat = 1.0
    """Eq. 8: weight of agreeing with chi in what phi maximises."""

    fusion: Literal["product", "logits", "contrast"] = "product"
    """How both make a video's masks: phi's weighted with chi's; the mean of their logits; or a mean
    in which chi weighs the less, the more the motion speaks for phi's mask. In labels both weigh
    alike."""


class SelfTrainingConfig(Config):
    """chi on images alone, taught by its own refined masks; it goes on from a run, see `start`."""

    name: Literal["dystab_self_training"] = "dystab_self_training"

    static: StaticConfig
    """Its network must be that of the run it begins with; no initial weights are fetched."""

    rounds: PositiveInt = 1
    """Times that chi' becomes what chi is."""

    static_steps: PositiveInt
    """Steps of chi in each round."""

    threshold: Literal["half", "otsu"] = "half"
    """Where a mask is split in two before it is refined: at a probability of 0.5, or where Otsu
    splits the mask's own logits, so that there is an object in every image."""


class SupervisedConfig(Config):
    """Table 3's supervised variant: phi and chi fine-tuned on annotated frames."""

    name: Literal["dystab_supervised"] = "dystab_supervised"

    dynamic: DynamicConfig

    static: StaticConfig

    fusion: Literal["product", "logits", "contrast"] = "product"
    """See `BootstrapConfig`."""
