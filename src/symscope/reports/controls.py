"""What a finding must stand beside: an untrained copy, the same question again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .. import _draws as draws
from ..extract.checks import first_run
from ..extract.differentiation import Differentiation
from ..extract.extraction import Query
from ..extract.modes import running
from ..extract.network import Network

RESETS = ("reset_parameters", "_reset_parameters")  # the second is that of torch's attention


@torch.inference_mode(False)  # else its weights could not be differentiated
def untrained_copy(model: nn.Module, seed: int) -> nn.Module:
    """A copy of a network with fresh weights, drawn by each layer's own ``reset_parameters``.

    Weights that are computed from others (weight and spectral norm, parametrizations, pruning)
    stay so: the fresh weight is put into what it is computed from. TypeError if the network cannot
    be copied, or a module holds parameters and cannot reset them, or leaves them as they were.
    """
    way_out = "hand in an untrained network yourself, controls(untrained=...)"
    try:
        fresh = copy.deepcopy(model, _computed(model))
    except Exception as error:  # whatever a layer holds that cannot be copied
        raise TypeError(f"the network cannot be copied ({error}): {way_out}") from error
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        # Hashed: a network that was itself made under this seed must not be drawn again.
        torch.manual_seed(draws.stream(seed, "untrained copy").initial_seed())
        for name, module in fresh.named_modules():
            if isinstance(module, parametrize.ParametrizationList):
                continue  # filled by the layer that it belongs to
            if any(hasattr(module, reset) for reset in RESETS):
                try:
                    _reset(module)
                except RuntimeError as error:
                    raise TypeError(
                        f"the layer {name or 'model'} ({type(module).__name__}) cannot be given a "
                        f"fresh weight ({str(error).splitlines()[0]}): {way_out}"
                    ) from error
            elif next(module.parameters(recurse=False), None) is not None:
                raise TypeError(
                    f"the layer {name or 'model'} ({type(module).__name__}) has weights and no "
                    f"reset_parameters(): {way_out}"
                )
    trained = dict(model.named_parameters())
    for name, weight in fresh.named_parameters():
        # What a parametrization computes from may stay, as that of an orthogonal weight does.
        drawn = weight.requires_grad and ".parametrizations." not in f".{name}"
        if drawn and weight.numel() > 1 and weight.var() > 0 and weight.equal(trained[name]):
            raise TypeError(f"reset_parameters() leaves {name} as it was: {way_out}")
    return fresh


def _computed(model: nn.Module) -> dict[int, Any]:
    """Copies of the tensors that layers keep and deepcopy refuses, since others gave them."""
    found: dict[int, Any] = {}

    def look(value: object) -> None:
        if isinstance(value, Tensor) and not value.is_leaf:
            found[id(value)] = value.detach().clone()
        elif isinstance(value, (dict, list, tuple, set)):
            for part in value.values() if isinstance(value, dict) else value:
                look(part)

    for module in model.modules():
        look({name: part for name, part in vars(module).items() if name != "_modules"})
    return dict(found)  # what deepcopy adds to it must not live on in this closure


def _reset(module: nn.Module) -> None:
    """Fresh weights of one layer, also where they are computed from others."""
    parametrized = getattr(module, "parametrizations", {})
    with torch.no_grad(), parametrize.cached():
        next(getattr(module, reset) for reset in RESETS if hasattr(module, reset))()
        drawn = {name: getattr(module, name).clone() for name in parametrized}
        own = dict(module.named_parameters(recurse=False))
        for name, weight in own.items():
            base, _, part = name.rpartition("_")
            value = getattr(module, base, None) if part in ("orig", "v") else None
            if not isinstance(value, Tensor):
                continue
            weight.copy_(value)
            if part == "v":  # weight norm: a direction, and a length along some of its axes
                length = own[f"{base}_g"]
                axes = [i for i, size in enumerate(length.shape) if size == 1]
                length.copy_(value.norm(dim=axes or None, keepdim=bool(axes)))
    for name, value in drawn.items():
        setattr(module, name, value)


@dataclass(frozen=True)
class Provenance:
    """The network and the question of a report, which it holds so that controls can be asked."""

    model: Callable[[Tensor], Tensor]
    query: Query
    how: Differentiation | None = None

    def query_about(self, data: Tensor | Iterable | None) -> Query:
        """The question, about the data handed in or else those of the report."""
        if isinstance(self.query.data if data is None else data, Iterator):
            raise RuntimeError(
                "data was an iterator, which is used up: hand in a tensor or a re-iterable loader"
            )
        return self.query if data is None else replace(self.query, data=data)


def contrast_of(
    model: Callable[[Tensor], Tensor], contrast: Callable[[Tensor], Tensor] | str, query: Query
) -> Callable[[Tensor], Tensor]:
    """The network that a report is compared with."""
    if isinstance(contrast, str):
        if contrast != "untrained" or not isinstance(model, nn.Module):
            raise ValueError(
                f"contrast must be a network, or 'untrained' for a copy of a torch module; got "
                f"{contrast!r}"
            )
        return untrained_copy(model, query.seed)
    Provenance(model, query).query_about(None)
    batch, shapes = query.stream().peek(), []
    for name, network in (("model", model), ("contrast", contrast)):
        own = Network(network, query.outputs).at(batch)
        inputs = batch.inputs.to(own.device(batch.inputs.device))
        with running(network):
            try:
                shapes.append(first_run(own, inputs)[0][0].shape[1])
            except TypeError as error:
                raise TypeError(f"{name}: {error}") from error
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"contrast must have outputs like the model's, {shapes[0]} a sample; got {shapes[1]}"
        )
    return contrast
