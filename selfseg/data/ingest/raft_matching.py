"""Optical flow by a network that learned it, on a GPU if there is one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from selfseg import storage
from selfseg.data.ingest.motion import resize
from selfseg.errors import UserError
from selfseg.nets.raft import Raft, RaftSize, load_raft_weights, raft_grid

Flow = Float32[np.ndarray, "h w 2"]


@dataclass(frozen=True, slots=True)
class RaftMatcher:
    """RAFT between two RGB images; its last digits depend on device and threads.

    weights: see `load_raft_weights`
    """

    size: RaftSize
    weights: str

    def view(
        self, image: UInt8[np.ndarray, "source_h source_w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Return the image on the nearest grid that the network takes."""
        return resize(image, raft_grid(*size))

    def flows(
        self, first: UInt8[np.ndarray, "h w 3"], others: Sequence[UInt8[np.ndarray, "h w 3"]]
    ) -> list[tuple[Flow, Flow]]:
        """Ask for both directions of a pair at once, on a GPU for those of all pairs.

        Raises:
            UserError: its weights are out of reach, or another network's.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = _network(self.size, self.weights, device)
        # A larger batch would only take more memory on a CPU.
        at_once = len(others) if device.type == "cuda" else 1
        return [
            flow
            for start in range(0, len(others), at_once)
            for flow in both_ways(network, first, others[start : start + at_once], device)
        ]


def both_ways(
    network: Raft,
    first: UInt8[np.ndarray, "h w 3"],
    others: Sequence[UInt8[np.ndarray, "h w 3"]],
    device: torch.device,
) -> list[tuple[Flow, Flow]]:
    """Return the flow from an image to each other, and back, from one batch."""
    shown = torch.from_numpy(np.stack([first, *others])).to(device)
    here, *there = (shown.permute(0, 3, 1, 2).float() / 255).unbind()
    origins, targets = torch.stack([here] * len(there)), torch.stack(there)
    # Half precision where it is quick, which a CPU's is not.
    half = torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")
    with torch.inference_mode(), half:
        flow = network(torch.cat([origins, targets]), torch.cat([targets, origins])).float()
    forward, backward = (
        flow.permute(0, 2, 3, 1)
        .contiguous()
        .cpu()
        .numpy()
        .reshape(2, len(there), *first.shape[:2], 2)
    )
    return list(zip(forward, backward, strict=True))


@cache
def _network(size: RaftSize, weights: str, device: torch.device) -> Raft:
    """Load a network once for all the pairs, and videos, that this process sees."""
    network = Raft(size)
    try:
        load_raft_weights(network, weights)
    except storage.MissingObject:
        raise UserError(
            f"{weights}: no such file; it holds the weights of {size}, which measures the motion; "
            "put it there"
        ) from None
    return network.to(device).eval().requires_grad_(False)
