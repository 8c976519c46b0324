"""Pictures for a notebook: each with its caption, its alt text and the scale it was made at."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from ..statistics.text import run_of

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

MILLISECONDS = 80  # that a frame of an animation stays
PIXELS = 10  # edge of a data pixel on its picture


class Shown:
    """A picture in a notebook: the image with its alt text, and under it the caption.

    It is HTML with the image inside, so that the text travels with the picture into the book,
    a downloaded notebook and a screen reader alike. The caption ends with the scale.
    """

    def __init__(self, image: bytes, kind: str, caption: str, alt: str, scale: str, width: int):
        if not caption.strip() or not alt.strip():
            raise ValueError("a figure needs a caption and an alt text")
        self.image, self.kind, self.alt, self.width = image, kind, alt, width
        self.caption = f"{caption} ({run_of(scale)})."

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        source = f"data:image/{self.kind};base64,{base64.b64encode(self.image).decode()}"
        return {
            "text/plain": f"[Figure] {self.caption}",
            "text/html": (
                f'<figure class="symscope"><img src="{source}" alt="{escape(self.alt)}" '
                f'width="{self.width}"><figcaption>{escape(self.caption)}</figcaption></figure>'
            ),
        }


class Album:
    """A notebook's pictures, with the scale said once.

    Args:
        scale: "quick" or "paper"; each caption ends with it: "(quick run)", "(full run)".
    """

    def __init__(self, scale: str):
        self.scale = scale

    def show(self, figure: Figure, *, caption: str, alt: str) -> Shown:
        """A matplotlib figure for display with its caption, opaque on white."""
        stream = io.BytesIO()
        look: dict[str, Any] = {"facecolor": "white", "transparent": False}
        figure.savefig(stream, format="png", dpi=170, metadata={"Software": None}, **look)
        width = round(figure.get_figwidth() * 100)
        return Shown(stream.getvalue(), "png", caption, alt, self.scale, width)

    def animate(
        self,
        frames: Float[np.ndarray | Tensor, "t h w"],
        labels: Sequence[str],
        *,
        caption: str,
        alt: str,
    ) -> Shown:
        """Grey-level frames in [0, 1] as a looping GIF: plays in static HTML with no script.

        Each has a short label under it.
        """
        from PIL import Image, ImageDraw, ImageFont

        font = ImageFont.load_default(size=18)
        pictures = []
        for frame, label in zip(np.asarray(frames), labels, strict=True):
            grey = Image.fromarray(np.uint8(np.clip(frame, 0, 1) * 255))
            size = frame.shape[1] * PIXELS, frame.shape[0] * PIXELS
            picture = Image.new("L", (size[0], size[1] + 30), 255)
            picture.paste(grey.resize(size, Image.Resampling.NEAREST), (0, 0))
            where = size[0] / 2, size[1] + 15
            ImageDraw.Draw(picture).text(where, label, fill=0, font=font, anchor="mm")
            pictures.append(picture)
        stream = io.BytesIO()
        first, *rest = pictures
        look: dict[str, Any] = {"append_images": rest, "duration": MILLISECONDS, "loop": 0}
        first.save(stream, format="GIF", save_all=True, **look)
        return Shown(stream.getvalue(), "gif", caption, alt, self.scale, first.width)
