"""Batches of tensors, made of what was read; apart, for loader processes do without torch."""

from dataclasses import fields
from typing import Any

import numpy as np
import torch

from selfseg.contracts import FramePairs
from selfseg.data.reading.pairs import Stack


def to_batch(stack: Stack) -> FramePairs:
    """Return tensors that share the arrays' memory."""
    parts: dict[str, Any] = {field.name: getattr(stack, field.name) for field in fields(stack)}
    for name, part in parts.items():
        if isinstance(part, np.ndarray):
            parts[name] = torch.from_numpy(part)
    return FramePairs(**parts)
