"""How a Lie algebra moves data: vectors, points, images, along any vector fields."""

from .fields import FieldAction
from .plane import PlaneAction
from .points import PointAction
from .vectors import Action, LinearAction
from .volume import VolumeAction

__all__ = ["Action", "FieldAction", "LinearAction", "PlaneAction", "PointAction", "VolumeAction"]
