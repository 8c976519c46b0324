"""The symmetries of every layer's features, from one pass over the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor, nn

from ..actions.vectors import Action
from ..extract.extraction import Extraction, Query, Settings, check_rows, steps
from ..extract.modes import running
from ..extract.network import Network, Outputs
from ..extract.rows import ForwardRows, Rows
from .symmetries import Symmetries

if TYPE_CHECKING:
    from jaxtyping import Float

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
FOLLOWING = (*NORMS, *INSTANCE_NORMS, *DROPOUTS)
# A covariance of as many features as this takes 128 MiB.
MOST_WHITENED = 4096


def layer_symmetries(
    model: nn.Module,
    data: Tensor | Iterable,
    *,
    action: Action,
    layers: Sequence[str] | None = None,
    whiten: float | None = None,
    backend: str = "auto",
    **settings: Unpack[Settings],
) -> dict[str, Symmetries]:
    """Ask every layer of a network which directions its features are invariant along.

    What :func:`symscope.learned_symmetries` asks of the outputs, asked of the features of all
    layers in one pass. Two measures make layers comparable, whose features differ in scale and
    number: :meth:`symscope.Symmetries.against_shuffled`, and whitening.

    Args:
        model: a torch module, run in eval mode and put back as it was.
        data: as for :func:`symscope.learned_symmetries`. Whitening reads them twice.
        action: how the algebra moves the data.
        layers: names of submodules, as in ``model.named_modules()``, whose outputs are the
            features. Default None: every linear layer and convolution that runs, after the
            activations, normalisations and dropout that directly follow it in an
            ``nn.Sequential``.
        whiten: None (default), the features as they are; or a ridge r >= 0, to multiply them
            first by ``(S + r s)^(-1/2)``, S their covariance over the data and s its mean
            diagonal. With r = 0 the variances do not change under an invertible linear map of
            the features. 1e-3 keeps directions in which features hardly vary from taking over.
        backend, settings: as for :func:`symscope.learned_symmetries`: ``moves``, ``shared``,
            ``mask``, ``mode``, ``batch_size``, ``samples``, ``control_samples``, ``dtype``,
            ``seed`` and ``groups``.

    Returns:
        A report a layer, by its name, in the order of the network. Variances are sums over the
        layer's features, in their squared units; whitened features have none.

    Raises:
        ValueError: for an unknown layer, one that does not run or runs twice, or whose output has
            no entry for each sample; a network without layers to choose; a layer whose derivatives
            are all zero; a negative ridge, features that are constant, too many or (with r = 0) of
            singular covariance; and as :func:`symscope.learned_symmetries`.
        TypeError: if the model is no torch module, or data to be whitened are an iterator.

    >>> import symscope as ss, torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    >>> found = ss.layer_symmetries(net, torch.randn(300, 3), action=ss.LinearAction(3))
    >>> list(found)  # after the activation, and the outputs
    ['1', '2']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch module, got {type(model).__name__}")
    if isinstance(layers, str):
        raise ValueError(f"layers must be a list of names, got {layers!r}")
    names = feature_layers(model) if layers is None else list(dict.fromkeys(layers))
    known = dict(model.named_modules())
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(repr(other) for other in known if other)
        raise ValueError(f"there is no layer {unknown[0]!r}; there are {there}")
    if not names:
        raise ValueError("layers is empty: name at least one")
    if whiten is not None and not whiten >= 0:
        raise ValueError(f"whiten must be a ridge of at least 0, or None; got {whiten!r}")
    if whiten is not None and isinstance(data, Iterator):
        raise TypeError(
            "data is an iterator, which whitening would use up before the derivatives are taken: "
            "hand in a tensor or a re-iterable loader"
        )
    together = _SideBySide()
    query = Query.of(data, action, settings, outputs=together, backend=backend)
    with running(model), _tapped(model, names, layers is None) as features:
        network = Network(model, together, features)
        whitening = None if whiten is None else _whitening(network, together, query, whiten)
        found = _extract(network, together.sizes, whitening, query)
    for name, extraction in found.items():
        check_rows(extraction.factor, f"every feature of layer {name!r}")
    return {name: Symmetries.from_extraction(each, query) for name, each in found.items()}


def _extract(
    network: Network,
    sizes: dict[str, int],
    whitening: dict[str, Float[Tensor, "c c"]] | None,
    query: Query,
) -> dict[str, Extraction]:
    """One pass over the data; the rows of all features are shared out to their layers."""
    found: dict[str, Extraction] = {}
    stream = query.stream()
    for step in steps(network, query, stream, sizes=lambda: list(sizes.values())):
        found = found or {name: Extraction(query, step.how) for name in sizes}
        # Of whitened features the gradients are not known: they get no decision.
        references = [] if whitening else step.references
        intakes = [
            extraction.intake(step.batch, reference)
            for extraction, reference in zip_longest(found.values(), references)
        ]
        parts = list(sizes.values())
        for kind, start, rows in _of_all_features(step.rows, sum(parts)):
            for name, intake, own in zip(sizes, intakes, rows.split(parts, 1), strict=True):
                if whitening is not None:
                    own = torch.einsum("wc,nck->nwk", whitening[name].to(own), own)
                intake.add(kind, ForwardRows(start, 0, own))
        rounding = (("rounding", rows) for rows in step.rounding)
        for _, _, rows in _of_all_features(rounding, sum(parts)):
            for extraction, own in zip(found.values(), rows.split(parts, 1), strict=True):
                extraction.evidence.add_rounding(own)
    return found


def _of_all_features(
    blocks: Iterable[tuple[str, Rows]], features: int
) -> Iterator[tuple[str, int, Float[Tensor, "n c k"]]]:
    """Kind, first sample and rows of all features, of which in reverse a few come at a time."""
    held: dict[str, list[Tensor]] = {}
    for kind, rows in blocks:
        parts = held.setdefault(kind, [])
        parts.append(rows.rows)
        if sum(part.shape[1] for part in parts) == features:
            yield kind, rows.start, torch.cat(held.pop(kind), 1)


def feature_layers(model: nn.Module) -> list[str]:
    """The names of the modules whose outputs are taken as features by default."""
    after: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        children = list(module) if isinstance(module, nn.Sequential) else []
        for place, child in enumerate(children):
            after[child] = child
            for follower in children[place + 1 :]:
                activation = type(follower).__module__ == "torch.nn.modules.activation"
                plain = activation and not any(follower.children())  # no attention
                if not (plain or isinstance(follower, FOLLOWING)):
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


@dataclass(frozen=True)
class _SideBySide(Outputs):
    """All layers' features as one tensor; ``sizes``, once called, says how many each layer has."""

    sizes: dict[str, int] = field(default_factory=dict)

    def __call__(self, raw: dict[str, Tensor], samples: int) -> Float[Tensor, "n c"]:
        """The features (N, C), from every layer's."""
        for name, values in raw.items():
            if len(values) != samples:
                raise ValueError(
                    f"the layer {name!r} must return a tensor (N, ...) with N = {samples}; got "
                    f"{tuple(values.shape)}: name layers that keep the samples apart"
                )
        self.sizes.clear()
        self.sizes.update({name: values.shape[1] for name, values in raw.items()})
        return torch.cat(list(raw.values()), 1)


@contextmanager
def _tapped(
    model: nn.Module, names: list[str], chosen: bool
) -> Iterator[Callable[..., dict[str, Tensor]]]:
    """A function from what the model takes to every layer's features, in the order layers run in.

    Layers that were ``chosen`` by default and do not run (heads for training, the weights that
    attention multiplies by itself) are left out.
    """
    held: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, arguments: tuple, output: object) -> None:
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

    @wraps(getattr(model, "_orig_mod", model).forward)  # it takes what the model takes
    def features(*given: Any, **by_name: Any) -> dict[str, Tensor]:
        held.clear()
        model(*given, **by_name)
        missing = [name for name in names if name not in held]
        if missing and not chosen:
            raise ValueError(f"the layer {missing[0]!r} does not run when the model is called")
        if not held:
            raise ValueError(
                f"of the layers chosen by default none runs when the model is called, "
                f"{missing[0]!r} and so on: name layers of model.named_modules() yourself"
            )
        found = dict(held)
        held.clear()
        return found

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(partial(keep, name)) for name in names]
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()


def _whitening(
    network: Network, together: _SideBySide, query: Query, ridge: float
) -> dict[str, Float[Tensor, "c c"]]:
    """A matrix a layer whose product with the features has (but for the ridge) covariance 1."""
    count, shift = 0, None
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    with torch.enable_grad():  # which some networks need inside
        for batch in query.stream():
            inputs = batch.inputs.detach().clone().to(network.device(batch.inputs.device))
            values = network.at(batch)(inputs).detach().double()
            if shift is None:  # near the mean, so that no digits are lost to it
                shift = values.mean(0)
                for name, size in together.sizes.items():
                    if size > MOST_WHITENED:
                        raise ValueError(
                            f"the layer {name!r} has {size:,} features, and whitening takes at "
                            f"most {MOST_WHITENED:,}: name other layers"
                        )
            parts = (values - shift).split(list(together.sizes.values()), 1)
            for name, own in zip(together.sizes, parts, strict=True):
                sums[name] = sums.get(name, 0) + own.sum(0)
                squares[name] = squares.get(name, 0) + own.T @ own
            count += len(inputs)
    found = {}
    for name in together.sizes:
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
