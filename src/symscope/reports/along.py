"""The finite test of any network: how far its outputs change as the data move far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..actions.vectors import Action
from ..extract.modes import running
from ..extract.network import Network, Outputs
from ..inputs.samples import Moves, Name, Parts
from ..inputs.stream import Stream

if TYPE_CHECKING:
    import pandas

STEP = 1e-5  # of the flow, whose speed is measured


def change_along(
    model: Callable,
    data: Tensor | Iterable,
    action: Action,
    generators: Mapping[str, Tensor],
    distances: Iterable[float],
    *,
    outputs: str | int | Callable[[Any], Tensor] = "all",
    moves: Moves | None = None,
    shared: tuple[Name, ...] | None = None,
    mask: Name | None = None,
    batch_size: int = 512,
    samples: int | None = None,
    seed: int = 0,
) -> pandas.DataFrame:
    """How much a network's outputs change as the data move along exp(t h), t far from 0 too.

    A derivative of zero everywhere on the data does not say what happens off them; this does. All
    generators move the data equally fast, so that they can be compared.

    Args:
        model, data, action, outputs, moves, batch_size, samples, seed: as for
            :func:`symscope.learned_symmetries`.
        generators: of the action's shape, by name, of any length but zero.
        distances: t times the speed of the data at t = 0, as a share of the data's own root mean
            square: along a turn of vectors it is the angle in radians.

    Returns:
        A row a distance, a column a generator: the root mean square change of the outputs, over
        that between two different samples. 0 is none, 1 as far as to another sample.

    Raises:
        ValueError: for a generator of another shape, or that does not move the data; for outputs
            that are the same for all samples; and as :func:`symscope.learned_symmetries`.
    """
    import pandas

    for name, generator in generators.items():
        if tuple(generator.shape) != tuple(action.shape):
            raise ValueError(
                f"the generator {name!r} must be of the action's shape {tuple(action.shape)}, "
                f"got {tuple(generator.shape)}"
            )
    distances, stream = list(distances), Stream(
        data, action, batch_size, seed, samples,
        None if moves is None else Parts(moves, shared, mask),
    )  # fmt: skip
    network = Network(model, Outputs(outputs))
    batches = list(stream)
    inputs = [batch.inputs.detach() for batch in batches]
    times = {name: _time_to_move(action, inputs, h) for name, h in generators.items()}
    changes = {name: torch.zeros(len(distances), dtype=torch.float64) for name in generators}
    apart, previous = 0.0, None
    with running(model):
        for batch, x in zip(batches, inputs, strict=True):
            device, here = network.device(x.device), network.at(batch)
            still = here.values(x.to(device)).double().cpu()
            before = still[:1] if previous is None else previous
            apart += float((still - torch.cat([before, still[:-1]])).square().sum())
            previous = still[-1:]
            for name, generator in generators.items():
                for k, distance in enumerate(distances):
                    there = action.flow(x.to(device), generator.to(device), distance * times[name])
                    moved = here.values(there).double().cpu()
                    changes[name][k] += float((moved - still).square().sum())
    if not apart > 0:
        raise ValueError("the outputs are the same for all samples: there is nothing to change")
    found = {name: (change / apart).sqrt().tolist() for name, change in changes.items()}
    return pandas.DataFrame(found, index=pandas.Index(distances, name="distance"))


def _time_to_move(action: Action, inputs: list[Tensor], generator: Tensor) -> float:
    """The t at which the data would have moved by their own root mean square, at first speed."""
    moved = size = 0.0
    for x in inputs:
        x = x.double()
        h = generator.to(x.device)
        back, there = (action.flow(x, h, t) for t in (-STEP, STEP))
        moved += float(((there - back) / (2 * STEP)).square().sum())
        size += float(x.square().sum())
    if not moved > 0:
        raise ValueError("the generator does not move the data")
    return (size / moved) ** 0.5
