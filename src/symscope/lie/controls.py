"""What a finding must stand beside: an untrained copy, the same question again, a finite test."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..networks.modes import device_of, evaluation_mode
from .actions import Action
from .extract import Search

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def untrained_copy(model: nn.Module, seed: int) -> nn.Module:
    """A copy of a network with fresh weights, drawn by each layer's own ``reset_parameters``.

    Raises:
        TypeError: if a module holds parameters of its own and cannot reset them.
    """
    fresh = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in fresh.named_modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            elif next(module.parameters(recurse=False), None) is not None:
                raise TypeError(
                    f"the layer {name or 'model'} ({type(module).__name__}) has weights and no "
                    "reset_parameters(): hand in an untrained network yourself, "
                    "controls(untrained=...)"
                )
    return fresh


class Asked:
    """The network and the question of a report, whose data and network it does not keep alive."""

    def __init__(self, model: object, search: Search, ask: Callable[[Callable, Search], Any]):
        self.ask = ask
        self._data, self._model = _weakly(search.data), _weakly(model)
        self._search = replace(search, data=())
        self._is_module = isinstance(model, nn.Module)

    def search(self, data: Tensor | Iterable | None) -> Search:
        """The question, about the data handed in or else those of the report."""
        data = self._data() if data is None else data
        if data is None:
            raise RuntimeError("the data of this report exist no more: hand in controls(data=...)")
        if isinstance(data, Iterator):
            raise RuntimeError(
                "data was an iterator, which is used up: hand in a tensor or a re-iterable loader"
            )
        return replace(self._search, data=data)

    def model(self) -> object:
        """The network, None if it was a plain function."""
        model = self._model()
        if model is None and self._is_module:
            raise RuntimeError(
                "the network of this report exists no more: hand in controls(model=...)"
            )
        return model if self._is_module else None


def _weakly(value: object) -> Callable[[], Any]:
    """A reference that keeps nothing alive; but for lists and the like, which allow no other."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def accuracy_along(
    model: Callable[[Tensor], Tensor],
    inputs: Float[Tensor, "n ..."],
    labels: Int[Tensor, " n"],
    action: Action,
    generator: Float[Tensor, "d d"],
    degrees: Iterable[float],
    batch_size: int = 1000,
) -> Float[Tensor, " t"]:
    """The finite test: a classifier's accuracy as the data move along exp(t h), t != 0 too.

    The generator is scaled to the Frobenius norm of a plane rotation, sqrt(2), and t runs in
    degrees, so that "90" along a rotation is a quarter turn and along any other direction a
    path of the same length.

    Args:
        model: from a batch (N, ...) to logits (N, C); run in eval mode and put back.
        inputs: what is moved.
        labels: the true classes.
        action: how the generator moves the inputs.
        generator: of the action's shape, of any length but zero.
        degrees: t, in the order of the result.
        batch_size: samples at a time; default 1,000.

    Returns:
        The share of right answers at each t, in [0, 1], float64.

    Raises:
        ValueError: for labels of another number than the inputs, inputs that are empty or do not
            fit the action, or a generator of another shape or without length.
    """
    action.check(inputs)
    if labels.shape != inputs.shape[:1] or not len(inputs):
        raise ValueError(
            f"labels must be one for each of the inputs, and at least one: got labels "
            f"{tuple(labels.shape)} for inputs {tuple(inputs.shape)}"
        )
    if tuple(generator.shape) != tuple(action.shape) or not generator.norm() > 0:
        raise ValueError(
            f"generator must be of the action's shape {tuple(action.shape)} and not zero; got "
            f"{tuple(generator.shape)} of norm {float(generator.norm()):g}"
        )
    generator = generator * (2**0.5 / generator.norm())
    found = []
    with evaluation_mode(model), torch.no_grad():
        for angle in degrees:
            t, hits = math.radians(angle), 0
            for batch, truth in zip(
                inputs.split(batch_size), labels.split(batch_size), strict=True
            ):
                device = device_of(model, batch.device)
                moved = action.flow(batch.to(device), generator, t)
                hits += int((model(moved).argmax(-1).cpu() == truth.cpu()).sum())
            found.append(hits / len(inputs))
    return torch.tensor(found, dtype=torch.float64)
