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
