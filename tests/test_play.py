"""The things to play with: they move by key, pointer and touch, and show what the network does."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page

import playthings

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("dial", "gauge", "epochs", "choices", "pose")
SLIDERS = ("dial", "gauge", "epochs", "pose")


def committed(name: str) -> dict:
    """What a script of data hands over."""
    text = (playthings.FOLDER / f"{name}.js").read_text(encoding="utf-8")
    return json.loads(text.partition(" = ")[2].rstrip(";\n"))


@pytest.fixture
def tab(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page's figures as a page of their own, opened from the disk."""
    shutil.copytree(ROOT / "book/_static", tmp_path / "_static")
    page = (ROOT / "book/play.md").read_text(encoding="utf-8")
    body = "\n".join(re.findall(r"^```\{raw\} html\n(.+?)^```$", page, re.M | re.S))
    style = '<meta charset="utf-8"><link rel="stylesheet" href="../_static/symscope.css">'
    (tmp_path / "book").mkdir()
    (tmp_path / "book/play.html").write_text(f"<!doctype html>{style}{body}", encoding="utf-8")
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / "book/play.html").as_uri())
        page.wait_for_selector("#play-epochs .play-live")
        yield page
        assert not errors


def said(tab: Page, name: str) -> str:
    return tab.locator(f"#play-{name} .play-status").inner_text()


@pytest.mark.parametrize("name", NAMES)
def test_each_is_small_and_has_a_still(tab: Page, name: str) -> None:
    files = [playthings.FOLDER / f"{name}.{ending}" for ending in ("js", "png")]
    assert sum(file.stat().st_size for file in files) < 300_000
    still = tab.locator(f"#play-{name} > img")
    assert not still.is_visible()
    tab.emulate_media(media="print")
    assert still.is_visible() and not tab.locator(f"#play-{name} .play-live").is_visible()


@pytest.mark.parametrize("name", SLIDERS)
def test_each_moves_by_key(tab: Page, name: str) -> None:
    slider = tab.locator(f"#play-{name} input").first
    before = said(tab, name)
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    assert said(tab, name) != before
    assert slider.get_attribute("aria-valuetext")


def test_the_dial_turns_by_touch_and_shows_the_networks_answer(tab: Page) -> None:
    face = tab.locator("#play-dial .play-face")
    box = face.bounding_box()
    assert box
    tab.touchscreen.tap(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert tab.locator("#play-dial output").first.inner_text() == "90°"
    data = committed("dial")
    rho = data["circles"][0]["rho"][playthings.DIAL // 2]
    assert f"{rho:.2f} times" in said(tab, "dial")

    tab.get_by_role("button", name="7").first.tap()
    tab.get_by_role("button", name="turn and stretch").tap()
    for slider, value in zip(tab.locator("#play-dial input").all(), ("0", "9"), strict=True):
        slider.fill(value)
    # Nine pixels along the turn are so many radians, anticlockwise, where y points down.
    angle = 9 / data["speed"] / math.sqrt(2)
    moved = tab.locator("#play-dial .play-stage img").evaluate("image => image.style.transform")
    found = [float(entry) for entry in re.findall(r"-?[\d.]+(?:e-?\d+)?", moved)][:4]
    turned = [math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)]
    assert found == pytest.approx(turned, abs=1e-4)


def test_the_slider_moves_the_score_and_no_probability(tab: Page) -> None:
    slider = tab.locator("#play-gauge input")
    bars = "bars => bars.map(bar => bar.getAttribute('width'))"

    def seen(at: int) -> tuple[float, list[str]]:
        slider.fill(str(at))
        widths = tab.locator("#play-gauge .play-bars rect").evaluate_all(bars)
        knob = tab.locator("#play-gauge .play-scale circle:not(.still)")
        return float(knob.get_attribute("cx") or "nan"), widths

    last = len(playthings.GAUGE) - 1
    (low, first), (high, second) = seen(0), seen(last)
    decade = 260 / 6
    assert high - low > 4 * decade
    assert first == second


def test_the_epochs_play_to_the_end(tab: Page) -> None:
    tab.clock.install()
    tab.get_by_role("button", name="play").tap()
    stops = committed("epochs")["epochs"]
    tab.clock.run_for(1000 * len(stops))
    assert said(tab, "epochs").startswith(f"After {stops[-1]} epochs")
    assert tab.get_by_role("button", name="play").is_visible()


def test_an_analysis_is_chosen_by_key_and_shows_its_control(tab: Page) -> None:
    data = committed("choices")
    sizes = [len(labels) for labels in playthings.CHOICES.values()]
    assert data["choices"] == playthings.CHOICES and len(data["gap"]) == math.prod(sizes) == 512
    assert said(tab, "choices").startswith("Analysis 1 of 512")
    tab.get_by_role("button", name="whitened").press("Enter")
    tab.get_by_role("button", name="pixel 14").press("Space")
    place = 1 + 512 // math.prod(sizes[:4])
    assert f"Analysis {place + 1} of 512: gap {data['gap'][place]:.3}" in said(tab, "choices")
    trained, fresh = data["gap"][:256], data["gap"][256:]
    assert min(trained) > max(fresh)  # what the page says of them


def test_the_ligand_turns_alone_and_loses_its_score(tab: Page) -> None:
    data = committed("pose")
    whole, alone = data["scores"]
    tab.locator("#play-pose input").fill(str(data["degrees"].index(90)))
    stick = tab.locator("#play-pose .stick").first
    assert f"{data['judges'][0]} {whole[0][6]:.2f}" in said(tab, "pose")
    before = stick.get_attribute("x1")
    swings = [max(row) - min(row) for row in whole]  # what the page says of them
    assert max(swings[:2]) < 0.05 and swings[2] > 0.5 and max(row[12] for row in alone[:3]) < 0.1
    tab.get_by_role("button", name="the ligand alone").tap()
    assert f"{data['judges'][0]} {alone[0][6]:.2f}" in said(tab, "pose")
    assert stick.get_attribute("x1") == before  # the ligand stands, its pocket went back


def test_the_numbers_are_those_of_the_network_today() -> None:
    table = playthings.pandas.read_csv(ROOT / "data/layers_and_training.csv")
    assert committed("epochs") == playthings.epochs(table)

    data = committed("dial")
    model = playthings.studies.networks.load(ROOT / "data/rotation_mnist_mlp.safetensors")
    upright = playthings.studies.data.mnist(blur=1.5, seed=0).test
    with torch.no_grad():
        read = model(upright.inputs).argmax(1)
    place = int(torch.nonzero((upright.targets == 4) & (read == 4))[0])
    image = upright.inputs[place : place + 1]
    action = playthings.ss.PlaneAction("gl2")
    with torch.no_grad():
        steps = [
            model(action.flow(image, playthings.TURN, pixels / data["speed"])).softmax(1)[0]
            for pixels in data["amounts"]
        ]
    packed = base64.b64decode(data["circles"][0]["probabilities"])
    shape = playthings.DIAL, len(playthings.DIGITS), len(steps), 10
    shown = torch.frombuffer(bytearray(packed), dtype=torch.uint8).reshape(shape)
    digit = playthings.DIGITS.index(4)
    assert torch.allclose(shown[0, digit] / 255, torch.stack(steps), atol=0.01)
