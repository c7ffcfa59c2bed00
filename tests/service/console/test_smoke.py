"""One quick look at the console in a browser; the other files here look closely."""

from __future__ import annotations

from tests.service.console.visits import CELL


def test_a_chosen_picture_shows_its_detections(server, look):
    console = look(server.url)
    console.set_input_files("#files", CELL)
    console.answered()
    console.slide("threshold", 0.05)
    assert console.scores() == ["0.900", "0.500", "0.250"]
    assert console.boxes() == 3
    assert console.locator("#model strong").inner_text() == "cells"
