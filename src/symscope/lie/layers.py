"""The symmetries of every layer's features, from one pass over the data.

The tangent fields of an action are pushed through the network once, and the derivatives of all
layers' features are taken on the way. Two measures make layers comparable, whose features differ
in scale and number: the variance against that of the shuffled pairing
(:meth:`symscope.Symmetries.against_shuffled`), and features that are whitened first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .actions import Action
from .extract import _check_rows, _enough_rows
from .factor import Factor
from .report import Symmetries
from .rows import (
    CHUNK_BYTES,
    Outputs,
    device_of,
    evaluation_mode,
    output_cotangents,
    probe,
    pushed_rows,
)
from .stream import Stream

if TYPE_CHECKING:
    from jaxtyping import Float

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.modules.dropout._DropoutNd)
# A covariance of as many features as this takes 128 MiB.
MOST_WHITENED = 4096


def layer_symmetries(
    model: nn.Module,
    data: Tensor | Iterable,
    *,
    action: Action,
    layers: Sequence[str] | None = None,
    whiten: float | None = None,
    batch_size: int = 512,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> dict[str, Symmetries]:
    """Ask every layer of a network which directions its features are invariant along.

    What :func:`symscope.learned_symmetries` asks of the outputs, asked of the features of all
    layers in one pass: the network is run once on each batch, together with the K tangent fields
    of the action, and again with those of other samples for the shuffled control. Where a layer
    has no forward mode, or the action no ``fields``, each feature is differentiated in reverse.

    Args:
        model: a torch module, run in eval mode and put back as it was.
        data: as there. Whitening reads them twice.
        action: as there.
        layers: names of submodules, as in ``model.named_modules()``, whose outputs are the
            features. Default None: every linear layer and convolution, after the activations,
            normalisations and dropout that directly follow it in an ``nn.Sequential``. In
            :class:`symscope.networks.models.MLP` these are the hidden layers after their activation,
            "layers.1", "layers.3" and so on, and the outputs last.
        whiten: None (default), the features as they are; or a ridge r >= 0, to multiply them
            first by ``(S + r s)^(-1/2)``, S their covariance over the data and s its mean
            diagonal. With r = 0 the variances do not change under an invertible linear map of
            the features. 1e-3 keeps directions in which features hardly vary from taking over.
        batch_size, dtype, seed: as there.

    Returns:
        A report a layer, by its name, in the order of the network. Variances are sums over the
        layer's features, in their squared units; whitened features have none.

    Raises:
        ValueError: for an unknown layer, one that does not run or runs twice, or whose output is
            no batch of features; a network without layers to choose; a negative ridge, features
            that are constant, too many or (with r = 0) of singular covariance; and as there.
        TypeError: if the model is no torch module, or data to be whitened are an iterator.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch module, got {type(model).__name__}")
    if isinstance(layers, str):
        raise ValueError(f"layers must be a list of names, got {layers!r}")
    names = feature_layers(model) if layers is None else list(dict.fromkeys(layers))
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            there = ", ".join(repr(other) for other in known if other)
            raise ValueError(f"there is no layer {name!r}; there are {there}")
    if not names:
        raise ValueError("layers is empty: name at least one")
    if whiten is not None and not whiten >= 0:
        raise ValueError(f"whiten must be a ridge of at least 0, or None; got {whiten!r}")
    if whiten is not None and isinstance(data, Iterator):
        raise TypeError(
            "data is an iterator, which whitening would use up before the derivatives are taken: "
            "hand in a tensor or a re-iterable loader"
        )
    dimension = len(action.basis)
    stream = Stream(data, action, batch_size, seed)
    forwards = None
    with evaluation_mode(model), _tapped(model, names) as (features, sizes):
        whitening = None if whiten is None else _whitening(features, sizes, stream, model, whiten)
        pairs = {}
        for batch in stream:
            device = device_of(model, batch.inputs.device)
            inputs, others = batch.inputs.detach().to(device), batch.others.detach().to(device)
            if forwards is None:
                _, forwards = probe(features, action, Outputs(), inputs, "auto")
                pairs = {
                    name: (Factor(dimension, dtype), Factor(dimension, dtype)) for name in sizes
                }
            for which, moved in enumerate((inputs, others)):
                if len(moved):
                    into = {name: pair[which] for name, pair in pairs.items()}
                    rows = _rows(features, action, inputs, moved, forwards, sum(sizes.values()))
                    _take_in(into, sizes, rows, whitening, batch.start)
    if forwards is None:
        raise ValueError("data is empty: the iterable yielded no samples")
    for factor, _ in pairs.values():
        _enough_rows(factor.rows, dimension)
    return {
        name: Symmetries(factor, action, Symmetries(shuffled, action) if shuffled.samples else None)
        for name, (factor, shuffled) in pairs.items()
    }


def feature_layers(model: nn.Module) -> list[str]:
    """The names of the modules whose outputs are taken as features by default.

    Raises:
        ValueError: if the network has no linear layer and no convolution.
    """
    after: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        children = list(module) if isinstance(module, nn.Sequential) else []
        for place, child in enumerate(children):
            after[child] = child
            for follower in children[place + 1 :]:
                if not _follows(follower):
                    break
                after[child] = follower
    names = {module: name for name, module in model.named_modules()}
    found = [names[after.get(m, m)] for m in model.modules() if isinstance(m, WEIGHTED)]
    if not found:
        raise ValueError(
            "the model has no linear layer and no convolution: name layers of "
            "model.named_modules() yourself"
        )
    return list(dict.fromkeys(found))


def _follows(module: nn.Module) -> bool:
    """Whether a module acts on the features of the layer before it and makes no new ones."""
    activation = type(module).__module__ == "torch.nn.modules.activation"
    return isinstance(module, NORMS) or (activation and not any(module.children()))


@contextmanager
def _tapped(
    model: nn.Module, names: list[str]
) -> Iterator[tuple[Callable[[Tensor], Tensor], dict[str, int]]]:
    """A function from inputs to all layers' features side by side, and how many each layer has.

    The sizes are there once the function was called; they are in the order the layers run in.
    """
    held: dict[str, Tensor] = {}
    sizes: dict[str, int] = {}

    def keep(name: str) -> Callable:
        def hook(module: nn.Module, arguments: tuple, output: object) -> None:
            if name in held:
                raise ValueError(
                    f"the layer {name!r} runs more than once in a pass: its features are not "
                    "defined. Name other layers"
                )
            if not isinstance(output, Tensor) or output.ndim < 2:
                came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise ValueError(f"the layer {name!r} must return a tensor (N, ...); got {came}")
            # A copy, for what comes next may change it in place.
            held[name] = output.flatten(1).clone()

        return hook

    def features(inputs: Tensor) -> Float[Tensor, "n features"]:
        held.clear()
        model(inputs)
        missing = [name for name in names if name not in held]
        if missing:
            raise ValueError(f"the layer {missing[0]!r} does not run when the model is called")
        sizes.update({name: values.shape[1] for name, values in held.items()})
        together = torch.cat(list(held.values()), 1)
        held.clear()
        return together

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(keep(name)) for name in names]
    try:
        yield features, sizes
    finally:
        for handle in handles:
            handle.remove()


def _rows(
    features: Callable[[Tensor], Tensor],
    action: Action,
    inputs: Float[Tensor, "n ..."],
    moved: Float[Tensor, "n ..."],
    forwards: bool,
    count: int,
) -> Iterator[Float[Tensor, "_ features k"]]:
    """Derivatives of all features at the inputs along the fields of ``moved``, in chunks."""
    held = len(action.basis) * (inputs[0].numel() + count) * inputs.element_size()
    chunk = max(1, CHUNK_BYTES // held)
    for x, u in zip(inputs.split(chunk), moved.split(chunk), strict=True):
        if forwards:
            yield pushed_rows(features, x, action.fields(u), Outputs())
        else:
            pulled = output_cotangents(features, x, Outputs())
            yield torch.cat([action.rows(u, cotangents) for cotangents in pulled], 1)


def _take_in(
    into: dict[str, Factor],
    sizes: dict[str, int],
    chunks: Iterable[Float[Tensor, "_ features k"]],
    whitening: dict[str, Float[Tensor, "c c"]] | None,
    start: int,
) -> None:
    """Share the rows of all features out to their layers' factors."""
    for rows in chunks:
        _check_rows(rows, start)
        start += len(rows)
        for name, own in zip(sizes, rows.split(list(sizes.values()), 1), strict=True):
            if whitening is not None:
                own = torch.einsum("wc,nck->nwk", whitening[name].to(own), own)
            into[name].update(own)


def _whitening(
    features: Callable[[Tensor], Tensor],
    sizes: dict[str, int],
    stream: Stream,
    model: nn.Module,
    ridge: float,
) -> dict[str, Float[Tensor, "c c"]]:
    """A matrix a layer whose product with the features has (but for the ridge) covariance 1."""
    count, shift, sums, squares = 0, None, {}, {}
    with torch.no_grad():
        for batch in stream:
            inputs = batch.inputs.detach().to(device_of(model, batch.inputs.device))
            values = features(inputs).double()
            if shift is None:  # near the mean, so that no digits are lost to it
                shift = values.mean(0)
                for name, size in sizes.items():
                    if size > MOST_WHITENED:
                        raise ValueError(
                            f"the layer {name!r} has {size:,} features, and whitening takes at "
                            f"most {MOST_WHITENED:,}: name other layers"
                        )
            parts = (values - shift).split(list(sizes.values()), 1)
            for name, own in zip(sizes, parts, strict=True):
                sums[name] = sums.get(name, 0) + own.sum(0)
                squares[name] = squares.get(name, 0) + own.T @ own
            count += len(inputs)
    found = {}
    for name in sizes:
        mean = sums[name] / count
        spread, axes = torch.linalg.eigh(squares[name] / count - torch.outer(mean, mean))
        spread = spread.clamp(min=0)
        if not spread.any():
            raise ValueError(f"the features of layer {name!r} are constant over the data")
        least = len(spread) * torch.finfo(spread.dtype).eps * spread.max()
        if not ridge and spread.min() <= least:
            raise ValueError(
                f"the features of layer {name!r} have a singular covariance over these data: "
                "whiten with a ridge above 0, say 1e-3"
            )
        found[name] = axes.T / (spread + ridge * spread.mean()).sqrt()[:, None]
    return found
