"""Weights that others trained, from a file or from where they were published."""

import pickle
from collections.abc import Mapping
from io import BytesIO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, hub

from selfseg import storage
from selfseg.errors import UserError


def read_weights(url: str) -> dict[str, Tensor]:
    """Read the tensors of a file by name: safetensors, or what `torch.save` wrote.

    Nothing in the file is executed.

    Args:
        url: a path or an s3:// URL; the suffix .safetensors says which of the two it is.

    Raises:
        StorageError: there is none, or it cannot be reached.
        UserError: the file is damaged, or holds something else.
    """
    data = storage.read(url)
    try:
        if url.endswith(".safetensors"):
            return safetensors.torch.load(data)
        weights = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        raise UserError(
            f"{url}: not a file of weights, or a damaged one; give what torch.save or "
            "safetensors wrote of a state_dict()"
        ) from None
    if not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise UserError(f"{url}: holds more than tensors by name; save the network's state_dict()")
    return weights


def download_weights(url: str) -> dict[str, Tensor]:
    """Fetch published weights once; later calls read the copy that PyTorch keeps.

    Args:
        url: http(s); a hash in its name is compared with what arrives.

    Raises:
        UserError: out of reach, or not what was published.
    """
    try:
        return hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (pickle.UnpicklingError, EOFError):
        reason = "what came is no file of weights"
    except (OSError, RuntimeError) as error:
        reason = str(error)
    raise UserError(
        f"{url}: {reason}; fetch it by other means, and give the path of the file or put it into "
        f"{hub.get_dir()}/checkpoints"
    )


def require_weights_of(
    architecture: str, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str
) -> None:
    """See that weights are one network's, whole and no more.

    How many batches normalisation has seen does not matter.

    Args:
        architecture: torchvision's name of the network.
        wanted: its own weights, which say names and shapes.
        given: what to compare.
        source: where that is from, for the error.

    Raises:
        UserError: they differ; it names the first difference.
    """
    for name in [*wanted, *given]:
        if name.endswith(".num_batches_tracked"):
            continue
        if name not in given or name not in wanted or given[name].shape != wanted[name].shape:
            raise UserError(
                f"{source}: not the weights of a {architecture}, see {name!r}; give a state dict "
                "of torchvision's, or name the architecture that the file is of"
            )
