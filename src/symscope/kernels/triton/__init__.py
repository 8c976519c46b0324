"""The kernels for GPUs, in Triton; each computes what its namesake in `reference` defines.

All take float32. With TRITON_INTERPRET=1 in the environment before Triton is imported, they run
on a CPU, slowly, for tests.
"""

from .codes import proximal_adjoint, proximal_step
from .linear import linear_gram
from .orbits import orbits, orbits_adjoint
from .plane import plane_gram, plane_rows

__all__ = [
    "linear_gram",
    "orbits",
    "orbits_adjoint",
    "plane_gram",
    "plane_rows",
    "proximal_adjoint",
    "proximal_step",
]
