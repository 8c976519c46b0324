"""How far a network's outputs change as the data move far, beside what the derivative says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import torch
from torch import Tensor

from .._checks import real
from ..actions.vectors import Action
from ..extract.extraction import Query, Settings
from ..extract.modes import running
from ..extract.network import Network, Outputs, weights_of
from ..inputs.stream import labels_of

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float, Int

STEP = 1e-5  # of the flow, whose speed is measured


def change_along(
    model: Callable,
    data: Tensor | Iterable,
    action: Action,
    generators: Mapping[str, Tensor],
    distances: Iterable[float],
    *,
    outputs: str | int | Callable[[Any], Tensor] = "all",
    **settings: Unpack[Settings],
) -> pandas.DataFrame:
    """How much a network's outputs change as the data move along exp(t h), t far from 0 too.

    All generators move the data equally fast, so that they can be compared.

    Args:
        model, data, action, outputs, settings: as for :func:`symscope.learned_symmetries`:
            ``moves``, ``shared``, ``mask``, ``batch_size``, ``samples`` and ``seed``.
        generators: of the action's shape, by name, of any length but zero.
        distances: t times the speed of the data at t = 0, as a share of the data's own root mean
            square: along a turn of vectors it is the angle in radians.

    Returns:
        A row a distance, a column a generator: the root mean square change of the outputs, over
        that between two different samples. 0 is none, 1 as far as to another sample.

    Raises:
        ValueError: for a generator of another shape, or that does not move the data; for outputs
            that are the same for all samples; and as :func:`symscope.learned_symmetries`.

    >>> import symscope as ss, torch
    >>> points = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> ways = {"turn": ss.algebra.so(2)[0], "scaling": ss.algebra.scaling(2)[0]}
    >>> table = ss.change_along(lambda x: x.norm(dim=1), points, ss.LinearAction(2), ways, [0.5])
    >>> table.loc[0.5].round(1).to_dict()  # half as far as the points are from 0
    {'turn': 0.0, 'scaling': 0.9}
    """
    import pandas

    distances = list(distances)
    for name, generator in generators.items():
        if tuple(generator.shape) != tuple(action.shape):
            raise ValueError(
                f"the generator {name!r} must be of the action's shape {tuple(action.shape)}, "
                f"got {tuple(generator.shape)}"
            )
    query = Query.of(data, action, settings, outputs=Outputs(outputs))
    network, batches = Network(model, query.outputs), list(query.stream())
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


class Along(NamedTuple):
    """What becomes of each sample's outputs along one generator, near and far.

    Changes are shares of the distance between two samples' outputs, distances of the data's root
    mean square.

    Attributes:
        changes: (N,), for a movement as far as the data's own size, by the slope, in the order in
            which samples came.
        worst: the place in the data of the sample with the largest.
        median: of the changes; of each group's root mean square where samples belong together.
        floor: what rounding in the data's precision leaves of them.
        jumps: by distance, the finite change over what the slope predicts. About 1 is a slope;
            far above 1 at a small distance is a jump, as a neighbour list or a bug makes it.
        removed: the share of the outputs' variance over samples that averaging over the movement
            up to the largest distance, to both sides, would remove.
        degrees: by distance, of a turn; empty for other generators.
        units: by distance, the root mean square movement of an element in the data's own units.
    """

    changes: Float[Tensor, " n"]
    worst: int
    median: float
    floor: float
    jumps: dict[float, float]
    removed: float
    degrees: dict[float, float]
    units: dict[float, float]


def along(model: Callable, query: Query, generator: Tensor, distances: Sequence[float]) -> Along:
    """Each sample's change along a generator: :meth:`symscope.Symmetries.along`."""
    far = max(real("distance", s, above=0) for s in distances)
    network, batches = Network(model, query.outputs), list(query.stream())
    inputs = [batch.inputs.detach() for batch in batches]
    time = _time_to_move(query.action, inputs, generator)
    eps = torch.finfo(inputs[0].dtype).eps
    step = 1e-4 if eps < 1e-10 else 1e-2
    outputs, slopes, places, averaged, predicted = [], [], [], 0.0, 0.0
    finite = dict.fromkeys(distances, 0.0)
    with running(model):
        for batch, x in zip(batches, inputs, strict=True):
            device, own = network.device(x.device), network.at(batch)

            def moved(s: float, x: Tensor = x, own: Network = own, to: Any = device) -> Tensor:
                there = query.action.flow(x.to(to), generator.to(to), s * time) if s else x.to(to)
                return own.values(there).double().cpu()

            outputs.append(moved(0.0))
            places.append(batch.places)
            slopes.append((moved(step) - moved(-step)) / (2 * step))
            # Autograd's slope, of all outputs with a weight each, sees no jump.
            gradient = own.gradient(x.to(device))[1]
            fields = (
                query.action.flow(x, generator.to(x.device), step * time)
                - query.action.flow(x, generator.to(x.device), -step * time)
            ) / (2 * step)
            weights = weights_of(outputs[-1])
            if gradient is not None:
                along_it = (gradient.cpu().double() * fields.cpu().double()).flatten(1).sum(1)
                predicted += float(along_it.square().sum())
            for s in distances:
                finite[s] += float(((moved(s) - outputs[-1]) @ weights).square().sum())
            ends = [outputs[-1], *(moved(s) for s in (-far, -far / 2, far / 2, far))]
            averaged += float(torch.stack(ends).var(0, correction=0).sum())
    values, slope, place = torch.cat(outputs), torch.cat(slopes), torch.cat(places)
    variance = float(values.var(0, correction=0).sum())
    if not variance > 0:
        raise ValueError("the outputs are the same for all samples: there is nothing to change")
    apart = (2 * variance) ** 0.5
    changes = slope.norm(dim=1) / apart
    size = sum(float(x.double().square().sum()) for x in inputs) / sum(x.numel() for x in inputs)
    turn = generator.ndim == 2 and bool((generator + generator.T).abs().max() < 1e-9)
    angle = math.degrees(time * float(generator.norm())) / 2**0.5
    return Along(
        changes,
        int(place[changes.argmax()]),
        float(_of_groups(changes, query, place).median()),
        eps * float(values.square().mean()) ** 0.5 / step / apart,
        {s: finite[s] ** 0.5 / max(s * predicted**0.5, 1e-300) for s in distances},
        min(averaged / len(values) / variance, 1.0),
        {s: s * angle for s in distances} if turn else {},
        {s: s * size**0.5 for s in distances},
    )


def _of_groups(
    changes: Float[Tensor, " n"], query: Query, places: Int[Tensor, " n"]
) -> Float[Tensor, " g"]:
    """The root mean square of each group's changes."""
    if query.groups is None:
        return changes
    labels = labels_of(query.groups)[places]
    _, which, counts = labels.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=changes.dtype).index_add(0, which, changes.square())
    return (sums / counts).sqrt()
