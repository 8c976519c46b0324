"""How a Lie algebra moves data: vectors, points, images, along any vector fields."""

from .fields import FieldAction
from .linear import Action, LinearAction, PlaneAction
from .points import PointAction

__all__ = ["Action", "FieldAction", "LinearAction", "PlaneAction", "PointAction"]
