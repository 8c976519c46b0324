"""How a network runs while it is asked: in evaluation mode, uncompiled, under autograd."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from .modes import evaluation_mode


@contextmanager
def running(model: object) -> Iterator[None]:
    """Run the model in eval mode, uncompiled and outside inference mode; put everything back after.

    What ``torch.compile`` made of a network frees what a second backward pass would need, and has
    no forward mode: it runs as the network that it was made from.

    Raises:
        ValueError: if a lazy layer was never run and has no weights yet.
    """
    # Nothing can have been compiled where the compiler was not even loaded, which takes a second.
    compiled = "torch._dynamo" in sys.modules
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with torch.inference_mode(False), eager, evaluation_mode(model):
        yield
