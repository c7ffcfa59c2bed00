"""Where the time goes: a bar for each row, its stages one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

import numpy as np

from loadtest.report.words import ms_words
from loadtest.traffic.sample import Sample
from model.page.axis import linear
from model.page.chart import BOTTOM, LEFT, RIGHT, WIDTH, line_of, svg_of, text_of
from model.page.markup import tag

REST = "the rest"
"""Network, reading and writing HTTP, the load test itself: what no stage of the server tells."""

KINDS = {
    "read": "s4",
    "decode": "s2",
    "queue": "s1",
    "inference": "s0",
    "postprocess": "s3",
    "encode": "s4",
    REST: "s5",
}
"""Colours of the stages that are known, by the page's style."""

ROW, GAP, TOP = 26, 24, 10


def kind_of(stage: str) -> str:
    """The colour of a stage."""
    return KINDS.get(stage, "s4")


def stages_of(samples: Sequence[Sample]) -> dict[str, float]:
    """The mean ms of each stage and of the rest, over answers that tell stages: means add up."""
    told = [sample for sample in samples if sample.stages]
    if not told:
        return {}
    names = dict.fromkeys(name for sample in told for name in sample.stages)
    means = {
        name: float(np.mean([sample.stages.get(name, 0.0) for sample in told])) for name in names
    }
    whole = 1e3 * float(np.mean([sample.latency for sample in told]))
    return {**means, REST: max(0.0, whole - sum(means.values()))}


def stacks(rows: Mapping[str, Mapping[str, float]], told: str) -> Element:
    """The bars; `rows`: ms by stage, by what the row is called."""
    x = linear("ms, mean", [sum(row.values()) for row in rows.values()])
    room, bottom = WIDTH - 4 - RIGHT, TOP + len(rows) * (ROW + GAP)

    def at(value: float) -> float:
        return 4 + x.place(value) * room

    parts = []
    for value, text in x.ticks.items():
        parts += [
            line_of(at(value), TOP, at(value), bottom),
            text_of(at(value), bottom + 18, text, "middle"),
        ]
    parts.append(text_of((LEFT + WIDTH) / 2, bottom + BOTTOM - 6, x.label, "middle"))
    for number, (name, row) in enumerate(rows.items()):
        y, begun = TOP + number * (ROW + GAP) + GAP - 4, 0.0
        whole = sum(row.values())
        parts.append(text_of(4, y - 6, f"{name}: {ms_words(whole)}", "start"))
        for stage, value in row.items():
            box = tag(
                "rect",
                tag("title", f"{stage}: {ms_words(value)}"),
                x=f"{at(begun):.1f}",
                y=y,
                width=f"{at(begun + value) - at(begun):.1f}",
                height=ROW,
                class_=kind_of(stage),
            )
            parts.append(box)
            begun += value
    return svg_of(parts, told, bottom + BOTTOM)
