"""Pictures for a notebook: captioned, described, opaque; animations loop."""

import numpy as np
import pytest
import torch
from study_cases import TEXTS, image, names, parsed

from studies.plots import figures
from studies.plots.display import Shown

ALBUM = figures.Album("quick")


def still(scale: str = "quick", **texts: str) -> Shown:
    return figures.Album(scale).show(figures.new()[0], **TEXTS | texts)


def moving(scale: str = "quick", **texts: str) -> Shown:
    return figures.Album(scale).animate(np.zeros((2, 4, 4)), ["a", "b"], **TEXTS | texts)


KINDS = pytest.mark.parametrize("make", [still, moving])


@KINDS
@pytest.mark.parametrize("which", ["caption", "alt"])
@pytest.mark.parametrize("text", ["", " \n"])
def test_a_figure_without_caption_or_alt_text_is_refused(make, which, text):
    with pytest.raises(ValueError, match="needs a caption and an alt text"):
        make(**{which: text})


@KINDS
def test_what_is_said_is_escaped_and_comes_back_as_it_was(make):
    caption, alt = 'a < b & "c" <script>', '5\' > "<b>" & co'
    shown = make(caption=caption, alt=alt)
    found = parsed(shown)
    assert found.image["alt"] == alt
    assert found.caption.startswith(caption)
    assert shown._repr_mimebundle_()["text/plain"] == f"[Figure] {found.caption}"


@KINDS
@pytest.mark.parametrize(("scale", "run"), [("quick", "quick run"), ("paper", "full run")])
def test_the_caption_ends_with_the_scale(make, scale, run):
    caption = parsed(make(scale=scale)).caption
    assert caption.startswith(TEXTS["caption"])
    assert caption.removeprefix(TEXTS["caption"]).strip(" ().") == run


@KINDS
def test_the_width_on_the_page_keeps_the_picture_sharp(make):
    shown = make()
    width = int(parsed(shown).image["width"])
    assert 0 < width <= image(shown).width


# Animations


def shades(count: int) -> np.ndarray:
    return np.linspace(0, 1, count)[:, None, None] * np.ones((1, 4, 6))


def test_an_animation_is_a_looping_gif_of_all_frames():
    shown = ALBUM.animate(shades(5), names(5), **TEXTS)
    picture = image(shown)
    assert picture.format == "GIF" and picture.n_frames == 5
    assert picture.info["loop"] == 0
    levels = []
    for k in range(5):
        picture.seek(k)
        assert picture.info["duration"] == 80
        frame = picture.convert("L")
        assert frame.width == 60 and frame.height > 40  # the data, and the label below
        levels.append(frame.getpixel((30, 20)))
        assert np.asarray(frame)[42:].min() < 100  # the label is there, dark on light
    assert levels == pytest.approx([0, 64, 128, 191, 255], abs=2)


def test_frames_that_stand_still_keep_their_time():
    frames = shades(2)[[0, 0, 1]]
    picture = image(ALBUM.animate(frames, ["a", "a", "b"], **TEXTS))
    total = 0
    for k in range(picture.n_frames):
        picture.seek(k)
        total += picture.info["duration"]
    assert total == 240


def test_values_outside_of_the_range_are_clipped_and_do_not_wrap():
    frames = np.stack([np.full((4, 6), -0.5), np.full((4, 6), 1.5)])
    picture = image(ALBUM.animate(frames, names(2), **TEXTS))
    levels = []
    for k in range(2):
        picture.seek(k)
        levels.append(picture.convert("L").getpixel((30, 20)))
    assert levels == [0, 255]


def test_tensors_animate_too():
    picture = image(ALBUM.animate(torch.from_numpy(shades(3)), names(3), **TEXTS))
    assert picture.n_frames == 3


def test_a_frame_without_a_label_is_refused():
    with pytest.raises(ValueError, match="zip"):
        ALBUM.animate(shades(3), names(2), **TEXTS)
