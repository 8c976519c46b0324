"""Two networks that others trained, in which the right answer was built in: distances, and pitch.

An interatomic potential (the package ``diep``, BSD-3), which sees nothing but distances and so
knows every motion of space; and a pitch network (``pesto-pitch``, LGPL-3), which raises what it
hears when a sound is raised. Of both packages the weights alone are read; ``WANTED`` says how to
get them. Lengths are in angstrom, energies in eV, pitches in semitones as MIDI counts them.
"""

from __future__ import annotations

import math
import typing
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

import symscope as ss
from symscope.decide.rule import bound_within, relative_within
from symscope.reports.equivariance import EquivariantSymmetries

from .gnina import weights_of

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float

POTENTIAL, PITCH = ("diep", "2.0.0"), ("pesto-pitch", "2.0.1")
CUTOFF, CUTOFF_OF_TRIPLES = 5.0, 4.0  # angstrom
EV = 3.183799116564027  # of the potential's own unit
SALT = (11, 17, 17, 11, 17, 11, 11, 17)  # sodium and chlorine, in turn on the corners of a cube
BOND = 2.8  # angstrom, between neighbours in rock salt
RATE, LOWEST, PER_OCTAVE, BINS = 16_000, 27.5 * 2 ** (-1 / 36), 36, 251  # of the sounds' spectrum
WIDER = 7.0  # Hz by which each bin is wider than at constant quality
LOW = 45  # MIDI, 110 Hz
CROP = 16  # bins at either end that the pitch network does not see
STEP = PER_OCTAVE // 12  # bins a semitone
SETTINGS = (
    "listconfig.ListConfig", "dictconfig.DictConfig", "base.ContainerMetadata", "base.Metadata",
    "nodes.AnyNode",
)  # fmt: skip

Weights = Mapping[str, Tensor]


def potential_weights() -> Path:
    """The file of the potential's; :class:`studies.gnina.MissingWeightsError` without it."""
    return weights_of(*POTENTIAL, "diep/pretrained_models/diep_fold1/state.pt")


def pitch_weights() -> Path:
    """The file of the pitch network's."""
    return weights_of(*PITCH, "pesto/weights/mir-1k_g7.ckpt")


# --- The potential --------------------------------------------------------------------------------


def layers(weights: Weights, name: str, x: Tensor, *, last: bool) -> Tensor:
    """Linear layers with SiLU between them, and after the last."""
    count = sum(key.startswith(f"{name}.") and key.endswith("weight") for key in weights)
    for i in range(count):
        place = f"{name}.{2 * i}"
        x = functional.linear(x, weights[f"{place}.weight"], weights.get(f"{place}.bias"))
        x = functional.silu(x) if last or i < count - 1 else x
    return x


def gated(weights: Weights, name: str, x: Tensor, *, last: bool = True) -> Tensor:
    """Two such stacks, of which one, through a sigmoid, opens and shuts the other."""
    gate = layers(weights, f"{name}.gates", x, last=False).sigmoid()
    return layers(weights, f"{name}.layers", x, last=last) * gate


def envelope(distance: Tensor, cutoff: float) -> Tensor:
    """One at distance zero, smoothly zero from the cutoff on."""
    q = distance / cutoff
    return torch.where(q <= 1, 1 - 10 * q**3 + 15 * q**4 - 6 * q**5, torch.zeros_like(q))


def drawn(places: Float[Tensor, "... k 2"], charges: Float[Tensor, "... k"]) -> Tensor:
    """Densities times potentials of k atoms on a plane grid of 11 x 11 points: (..., 121)."""
    axis = torch.arange(-5, 6, dtype=places.dtype)
    points = torch.cartesian_prod(axis, axis).flip(1)
    squared = (places[..., None, :] - points).square().sum(-1)
    potential = (charges[..., None] / (squared + 0.25).sqrt()).sum(-2)
    return (-squared).exp().sum(-2) / math.pi * potential


def triangle(opposite: Float[Tensor, "... 3"], charges: Float[Tensor, "... 3"]) -> Tensor:
    """Three atoms, drawn by the sides that lie opposite to them: the longest along x."""
    sides, order = opposite.sort(-1, descending=True)
    long, middle, short = sides.unbind(-1)
    x = (short**2 - middle**2) / (2 * long)
    y = (short**2 - (x + long / 2) ** 2).clamp(min=1e-12).sqrt()
    none = torch.zeros_like(x)
    places = torch.stack([x, y, -long / 2, none, long / 2, none], -1).unflatten(-1, (3, 2))
    return drawn(places - places.mean(-2, keepdim=True), charges.expand_as(order).gather(-1, order))


@dataclass(frozen=True)
class Potential:
    """An energy, in eV, of clusters of atoms of fixed kinds: (N, A, 3) to (N,).

    The same as the package's own on a graph, but on all pairs and triples: beyond a cutoff they add
    zero. Energies of free atoms are not added.

    Attributes:
        weights: by their names in the package.
        numbers: (A,), atomic numbers, at most 83.
    """

    weights: Weights
    numbers: tuple[int, ...] = SALT

    def __call__(self, positions: Float[Tensor, "n a 3"]) -> Float[Tensor, " n"]:
        w, count = self.weights, len(self.numbers)
        pairs = list(permutations(range(count), 2))
        source, end = torch.tensor(pairs).T
        both = torch.cartesian_prod(*[torch.arange(len(pairs))] * 2)  # of two pairs from one atom
        together = (source[both[:, 0]] == source[both[:, 1]]) & (both[:, 0] != both[:, 1])
        first, second = both[together].T
        charge = torch.tensor(self.numbers, dtype=positions.dtype).sqrt()
        distance = (positions[:, source] - positions[:, end]).norm(dim=2)  # (n, e)
        far = (positions[:, end[first]] - positions[:, end[second]]).norm(dim=2)  # (n, t)

        half = torch.stack([-distance, distance], 2) / 2
        line = torch.stack([half, torch.zeros_like(half)], 3)
        seen = drawn(line, torch.stack([charge[source], charge[end]], 1))
        seen = seen * envelope(distance, CUTOFF)[..., None]
        corners = torch.stack([charge[end[first]], charge[source[first]], charge[end[second]]], 1)
        triples = triangle(torch.stack([distance[:, second], far, distance[:, first]], 2), corners)
        near = envelope(distance, CUTOFF_OF_TRIPLES)
        triples = triples * (near[:, first] * near[:, second])[..., None]

        kinds = torch.tensor(self.numbers) - 1
        node = w["embedding.layer_node_embedding.weight"][kinds].expand(len(positions), -1, -1)
        edge = layers(w, "embedding.layer_edge_embedding.layers", seen, last=True)
        for block in range(3):
            three, conv = f"three_body_interactions.{block}", f"graph_layers.{block}.conv"
            share = layers(w, f"{three}.update_network_atom.layers", node, last=False).sigmoid()
            into = torch.zeros_like(seen).index_add(1, first, triples * share[:, end[second]])
            edge = edge + gated(w, f"{three}.update_network_bond", into)
            nodes = [node[:, source], node[:, end]]
            weight = seen @ w[f"{conv}.edge_weight_func.weight"].T
            edge = (
                edge + gated(w, f"{conv}.edge_update_func", torch.cat([*nodes, edge], 2)) * weight
            )
            sent = gated(w, f"{conv}.node_update_func", torch.cat([*nodes, edge], 2))
            sent = sent * (seen @ w[f"{conv}.node_weight_func.weight"].T)
            node = node.index_add(1, end, sent)
        return EV * gated(w, "final_layer.gated", node, last=False).sum((1, 2))


def potential() -> Potential:
    """The trained one, of a cube of rock salt, in double precision."""
    read = torch.load(potential_weights(), weights_only=True)
    prefix = "model."
    return Potential({k.removeprefix(prefix): v.double() for k, v in read.items() if prefix in k})


def salt(count: int, seed: int, shaken: float = 0.2) -> Float[Tensor, "n 8 3"]:
    """Cubes of eight ions, each coordinate shaken by so many angstrom (standard deviation)."""
    corners = BOND * torch.cartesian_prod(*[torch.arange(2, dtype=torch.float64)] * 3)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 8, 3, generator=generator, dtype=torch.float64)
    return corners - BOND / 2 + shaken * noise


# --- The pitch network ----------------------------------------------------------------------------


@dataclass(frozen=True)
class PitchNetwork:
    """Spectra (N, 219), in dB, to logits (N, 384) of pitches a third of a semitone apart.

    Attributes:
        weights: by their names in the package.
    """

    weights: Weights

    def __call__(self, spectrum: Float[Tensor, "n 219"]) -> Float[Tensor, "n 384"]:
        def convolved(x: Tensor, name: str) -> Tensor:
            weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
            x = functional.conv1d(x, weight, bias, padding=weight.shape[2] // 2)
            return functional.leaky_relu(x, 0.3)

        w, shape = self.weights, spectrum.shape[1:]
        x = functional.layer_norm(spectrum, shape, w["layernorm.weight"][0], w["layernorm.bias"][0])
        x = convolved(x[:, None], "conv1.0")
        for place in (0, 1):
            x = x + convolved(x, f"prefilt_layers.{place}.0")
        for place in (0, 3, 6, 9):
            x = convolved(x, f"conv_layers.{place}")
        return functional.conv1d(x.flatten(1)[:, None], w["fc.weight"], padding=383)[:, 0]


class _Skipped(dict):
    """What stands for a setting that is not read."""

    def __init__(self, *_: object):
        super().__init__()

    def __setstate__(self, _: object) -> None:
        pass


def pitch_network() -> tuple[PitchNetwork, float]:
    """The trained one, and the pitch in semitones of its first output."""
    # Beside the weights the file holds settings, of classes that need not be installed.
    skipped = [(_Skipped, f"omegaconf.{name}") for name in SETTINGS]
    plain = [typing.Any, list, dict, defaultdict, int]
    with torch.serialization.safe_globals([*skipped, *plain]):
        read = torch.load(pitch_weights(), weights_only=True)["state_dict"]
    prefix = "encoder."
    found = {k.removeprefix(prefix): v for k, v in read.items() if k.startswith(prefix)}
    return PitchNetwork(found), -round(float(read["shift"]) * STEP) / STEP


def fresh_pitch_network(seed: int) -> PitchNetwork:
    """The same as it starts: uniform within one over the root of a unit's inputs."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for name, weight in pitch_network()[0].weights.items():
        if name.startswith("layernorm"):
            found[name] = torch.full_like(weight, float(name.endswith("weight")))
            continue
        inputs = (found.get(f"{name.removesuffix('bias')}weight", weight))[0].numel()
        drawn_ = torch.rand(weight.shape, generator=generator, dtype=weight.dtype)
        found[name] = (2 * drawn_ - 1) / math.sqrt(inputs)
    return PitchNetwork(found)


def heard(logits: Float[Tensor, "n 384"], first: float) -> Float[Tensor, " n"]:
    """The pitch, in semitones: the mean of the probabilities around their largest."""
    bins = torch.arange(logits.shape[1])
    near = (bins - logits.argmax(1, keepdim=True)).abs() < STEP
    likely = logits.softmax(1) * near
    return (likely * bins).sum(1) / likely.sum(1) / STEP + first


def spectra(pitches: Float[Tensor, " n"], seed: int) -> Float[Tensor, "n 219"]:
    """Spectra of sounds of these pitches, as the network sees them, in dB.

    Each has partials that fall in strength by a power of its own, random phases, and a little
    noise, the same for the same seed and place whatever the pitch.
    """
    generator = torch.Generator().manual_seed(seed)
    count, length = len(pitches), 2**12
    partial = torch.arange(1, 25)
    fall = 1 + torch.rand(count, 1, generator=generator)
    level = torch.rand(count, len(partial), generator=generator) * partial**-fall
    phase = 2 * math.pi * torch.rand(count, len(partial), 1, generator=generator)
    noise = 1e-3 * torch.randn(count, length, generator=generator)
    tone = 440 * 2 ** ((pitches[:, None] - 69) / 12) * partial
    level = level * (tone < RATE / 2 - 500)
    time = torch.arange(length) / RATE
    sounds = torch.stack(
        [
            (a[:, None] * (2 * math.pi * f[:, None] * time + p).sin()).sum(0)
            for a, f, p in zip(level, tone, phase, strict=True)
        ]
    )
    quality = 2 ** (1 / PER_OCTAVE) - 1  # bandwidth over frequency
    kernels = torch.zeros(BINS, length, dtype=torch.complex64)
    for i in range(BINS):
        frequency = LOWEST * 2 ** (i / PER_OCTAVE)
        width = math.ceil(RATE / (frequency * quality + WIDER))
        window = torch.hann_window(width)
        start = math.ceil(length / 2 - width / 2) - width % 2
        turning = torch.polar(window, 2 * math.pi * frequency / RATE * torch.arange(width))
        kernels[i, start : start + width] = turning / window.sum() * math.sqrt(width)
    size = ((sounds + noise).to(kernels.dtype) @ kernels.T).abs()
    return 20 * size.clamp(min=1.2e-7).log10()[:, CROP:-CROP]


def raised(x: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
    """How a spectrum, or the outputs, change as all moves up by one bin: minus the slope."""
    return -torch.gradient(x, dim=1)[0]


def _brighter(x: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
    return torch.linspace(-1, 1, x.shape[1], dtype=x.dtype).expand_as(x)


def on_spectra() -> ss.FieldAction:
    """Four ways in which a spectrum moves, by one bin, one decibel, or its own deviations."""
    contrast = lambda x: x - x.mean(1, keepdim=True)  # noqa: E731
    names = ["higher", "louder", "more contrast", "brighter"]
    return ss.FieldAction([raised, torch.ones_like, contrast, _brighter], names)


def carried(network: PitchNetwork, spectrum: Float[Tensor, "n 219"]) -> EquivariantSymmetries:
    """Which of these ways the network turns into one for its outputs: to move up, too."""
    up = ss.FieldAction([raised], ["higher"])
    return ss.equivariant_symmetries(network, spectrum, action=on_spectra(), outputs_action=up)


def along(found: EquivariantSymmetries, outputs: float) -> tuple[float, float]:
    """rho and its upper bound of the pair: inputs up by one bin, outputs by so many."""
    pair = torch.zeros(1, len(found.metric), dtype=torch.float64)
    pair[0, 0], pair[0, -1] = 1, outputs
    return float(relative_within(found.evidence, pair)[0][0]), bound_within(found.evidence, pair)


def misheard(network: PitchNetwork, first: float, count: int, seed: int) -> Float[Tensor, " n"]:
    """By how many semitones it errs in how much higher each sound is, played 1 to 12 higher."""
    pitches = LOW + 21 * torch.rand(count, generator=torch.Generator().manual_seed(seed))
    higher = 1 + torch.arange(count) % 12
    low, high = (heard(network(spectra(p, seed)), first) for p in (pitches, pitches + higher))
    return high - low - higher


def sounds(count: int, seed: int) -> Float[Tensor, "n 219"]:
    """Spectra of sounds whose pitches are uniform over 33 semitones, 110 to 740 Hz."""
    draw = torch.rand(count, generator=torch.Generator().manual_seed(seed))
    return spectra(LOW + 33 * draw, seed)
