"""Lie algebras of matrices: the known ones, brackets, angles, names."""

from .matrices import affine as affine
from .matrices import anticlockwise as anticlockwise
from .matrices import bracket as bracket
from .matrices import closure_residual as closure_residual
from .matrices import coordinates as coordinates
from .matrices import euclidean as euclidean
from .matrices import gl as gl
from .matrices import heisenberg as heisenberg
from .matrices import homogeneous as homogeneous
from .matrices import measured as measured
from .matrices import orthonormal as orthonormal
from .matrices import principal_angles as principal_angles
from .matrices import scaling as scaling
from .matrices import sl as sl
from .matrices import so as so
from .matrices import sp as sp
from .matrices import translations as translations
from .naming import name_algebra as name_algebra
