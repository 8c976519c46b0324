"""What the kernels are asked about: tensors, places of pixels, and the error against float64."""

import torch

from symscope.kernels.reference import Plane

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


PLANES = [
    (differences, translations)
    for differences in ("central", "forward")
    for translations in (False, True)
]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)


def plane(shape, differences="central", translations=False) -> Plane:
    # An origin off the centre, so that no symmetry hides a mistake.
    return Plane(0.4 * shape[-2], 0.6 * shape[-1], 0.3, differences, translations)


def loss(found, truth) -> float:
    """The largest error, relative to the largest number."""
    if not truth.numel():
        return 0.0
    return float((found.double() - truth).abs().max() / truth.abs().max().clamp(min=1e-30))
