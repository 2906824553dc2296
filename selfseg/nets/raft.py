"""Dense optical flow by RAFT, a network that learned it from rendered scenes."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from selfseg.nets.weights import download_weights, read_weights, require_weights_of

RaftSize = Literal["raft_small", "raft_large"]

CELL = 8
SMALLEST_SIDE = 128


class Raft(nn.Module):
    """Teed and Deng, "RAFT: Recurrent all-pairs field transforms", 2020, as torchvision has it.

    Twelve updates, as many as it was trained with. Two frames of 480 x 856 hold 0.2 GiB of
    correlations in each direction.

    Args:
        size: 1 M parameters or 5 M.
    """

    def __init__(self, size: RaftSize) -> None:
        super().__init__()
        self.size: RaftSize = size
        self.body = get_model(size, weights=None)

    def forward(
        self, first: Float[Tensor, "b 3 h w"], second: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 2 h w"]:
        """Return each pixel's displacement from the first image to the second, (x, y), in pixels.

        Args:
            first: RGB, [0, 1]; on a grid that `raft_grid` gives.
            second: the same.
        """
        return self.body(2 * first - 1, 2 * second - 1)[-1]


def raft_grid(height: int, width: int) -> tuple[int, int]:
    """Return the nearest rows and columns that RAFT takes: multiples of 8, at least 128."""
    rows, columns = (max(SMALLEST_SIDE, CELL * round(side / CELL)) for side in (height, width))
    return rows, columns


def load_raft_weights(network: Raft, source: str) -> None:
    """Let a network know what others taught it.

    Args:
        network: RAFT.
        source: "torchvision": its best, downloaded; otherwise a path or an s3:// URL of a state
            dict of torchvision's RAFT of this size.

    Raises:
        UserError: no such weights, or those of another network.
    """
    if source == "torchvision":
        weights = download_weights(get_model_weights(network.size)["DEFAULT"].url)
    else:
        weights = read_weights(source)
    require_weights_of(network.size, network.body.state_dict(), weights, source)
    network.body.load_state_dict(weights)
