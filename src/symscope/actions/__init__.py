"""How a Lie algebra moves data: vectors, points, images, along any vector fields."""

from .plane import PlaneAction, VolumeAction
from .vectors import Action, FieldAction, LinearAction, PointAction

__all__ = ["Action", "FieldAction", "LinearAction", "PlaneAction", "PointAction", "VolumeAction"]
