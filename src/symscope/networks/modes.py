"""Where a model lies, and the mode that it runs in, put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_mode(model: object) -> Iterator[None]:
    """Run the model in eval mode, so that samples are independent; put every flag back after."""
    if not isinstance(model, nn.Module):
        yield
        return
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


def device_of(model: object, default: torch.device) -> torch.device:
    """The device of the model's first parameter or buffer, else ``default``."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return default
