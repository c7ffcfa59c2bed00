"""Pictures and settings, as a person handles them in headless Chromium."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from export.engines.session import Detections
from tests.service.console.visits import CELL, NOTES, PICTURE
from tests.service.fakes import FakeSession, detections, picture

pytestmark = pytest.mark.slow

TRANSFER = """([data, name, type]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, {type}));
    return transfer;
}"""


def transfer_of(console: Any, file: dict[str, Any]) -> Any:
    data = base64.b64encode(file["buffer"]).decode()
    return console.evaluate_handle(TRANSFER, [data, file["name"], file["mimeType"]])


def test_a_dropped_picture_shows_what_the_api_answers(server, look):
    console = look(server.url)
    transfer = transfer_of(console, CELL)
    console.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    assert console.locator("#veil").is_visible()
    console.dispatch_event("#empty", "drop", {"dataTransfer": transfer})
    console.answered()
    assert not console.locator("#veil").is_visible()
    console.slide("threshold", 0.05)
    answer = httpx.post(f"{server.url}/v1/detect?max_detections=300", content=PICTURE).json()
    rows = console.locator("#rows tr:not([hidden])")
    table = [rows.nth(i).locator("td").all_inner_texts() for i in range(rows.count())]
    assert table == [
        [str(number), found["label"], f"{found['score']:.3f}", *(f"{v:.1f}" for v in found["box"])]
        for number, found in enumerate(answer["detections"], 1)
    ]
    assert console.boxes() == len(table) == 3
    assert console.locator(".label text").all_text_contents() == [
        "RBC 0.90", "Platelets 0.50", "RBC 0.25",
    ]  # fmt: skip


def test_a_pasted_picture_is_asked_about(server, look):
    console = look(server.url)
    transfer = transfer_of(console, CELL)
    console.evaluate(
        "(clipboardData) => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData}))",
        transfer,
    )
    console.answered()
    assert console.scores() == ["0.900"]


def test_the_threshold_answers_at_once_without_a_request(server, look):
    console = look(server.url)
    console.set_input_files("#files", CELL)
    console.answered()
    asked = console.detects()
    assert len(asked) == 1
    for threshold, count in ((0.05, 3), (0.25, 2), (0.5, 1), (0.6, 1), (0.95, 0), (0.2, 3)):
        console.slide("threshold", threshold)
        # 0.25 and 0.5 are scores of boxes: as in the API a box must score above the threshold.
        assert (len(console.scores()), console.boxes()) == (count, count)
        assert console.locator("#threshold-value").inner_text() == f"{threshold:.2f}"
    assert console.detects() == asked


def test_the_iou_slider_asks_once_when_it_rests(server, look):
    console = look(server.url)
    console.set_input_files("#files", CELL)
    console.answered()
    for iou in (0.6, 0.65, 0.7):
        console.slide("iou", iou)
    with console.expect_request("**/v1/detect**") as asked:
        pass
    assert "iou_threshold=0.7&" in asked.value.url
    console.answered()
    assert len(console.detects()) == 2


def test_a_scale_is_asked_once_and_then_known(server, look):
    console = look(server.url)
    console.set_input_files("#files", CELL)
    console.answered()
    scale = console.locator("#scales")
    scale.get_by_role("radio", name="64").check()
    console.answered()
    assert "scale=64" in console.detects()[-1]
    scale.get_by_role("radio", name="128").check()
    console.answered()
    scale.get_by_role("radio", name="64").check()
    console.answered()
    assert len(console.detects()) == 2


def test_a_class_can_be_left_out(server, look):
    console = look(server.url)
    console.set_input_files("#files", CELL)
    console.answered()
    console.slide("threshold", 0.1)
    counts = console.locator("#classes .number")
    assert counts.all_inner_texts() == ["1", "2", "0"]
    console.get_by_role("checkbox", name="RBC").uncheck()
    assert console.scores() == ["0.500"]
    assert counts.all_inner_texts() == ["1", "2", "0"]
    assert "classes=Platelets,WBC" in console.locator("#curl").inner_text()


def test_two_scales_stand_side_by_side_and_say_what_only_one_has(serve, look):
    def by_canvas(images: Any) -> list[Detections] | None:
        # Image pixels are canvas pixels at scale 128, and twice as many at 64.
        small = detections(((4.0, 8.0, 20.0, 24.0), 0.8, 1), ((30.0, 2.0, 40.0, 12.0), 0.7, 2))
        return [small] * len(images) if images.shape[1] == 64 else None

    with serve(FakeSession(on_run=by_canvas)) as server:
        console = look(server.url)
        console.set_input_files("#files", CELL)
        console.answered()
        console.slide("threshold", 0.3)
        console.locator("#others").get_by_role("radio", name="64").check()
        console.answered(0)
        console.answered(1)
        captions = console.locator(".stage figcaption span.muted").all_inner_texts()
        assert captions == ["2 shown of 3, 1 only here", "2 shown of 2, 1 only here"]
        console.locator("#rows tr").first.click()
        # The same object is marked beside it.
        marked = console.locator(".stage").nth(1).locator(".detection.marked")
        assert marked.get_attribute("data-index") == "0"
        console.keyboard.press("Escape")
        assert marked.count() == 0


def test_several_pictures_are_asked_one_after_the_other_and_opened_by_choice(server, look):
    console = look(server.url)
    other = {**CELL, "name": "other.png", "buffer": picture(100, 200)}
    console.set_input_files("#files", [CELL, other, NOTES])
    labels = [
        "cell.png, 1 detections", "other.png, 1 detections", "notes.txt, an error",
    ]  # fmt: skip
    for label in labels:
        console.get_by_role("button", name=label).wait_for()
    console.get_by_role("button", name=labels[1]).click()
    console.answered()
    size = console.evaluate(
        "() => [...document.querySelectorAll('.frame img')].map(i => i.naturalWidth)"
    )
    assert size[0] == 100
    assert console.locator(".stage strong").first.inner_text() == "other.png"
    console.get_by_role("button", name="Clear").click()
    assert console.locator("#empty").is_visible()
    console.errors.clear()
