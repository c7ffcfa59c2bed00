"""The console's pure modules, run in the browser and held against oracles of other making."""

from __future__ import annotations

import shlex
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(server: Any, browser: Any) -> Any:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url + "/docs")
    yield page
    context.close()


def call(page: Any, module: str, expression: str, **given: Any) -> Any:
    """The value of an expression over a module's exports `m` and `given`."""
    script = f"async ([path, given]) => {{ const m = await import(path); return {expression}; }}"
    return page.evaluate(script, [f"/console/{module}.js", given])


def test_the_exposition_reads_as_prometheus_client_reads_it(server, page):
    text = httpx.get(server.url + "/metrics").text + 'odd{a="x\\"y\\\\z\\n,b=\\"1"} 1e-3\n'
    read = call(
        page,
        "exposition",
        "[...m.parseExposition(given.text)].flatMap(([name, samples]) =>"
        " samples.map(({labels, value}) => [name, labels, value]))",
        text=text,
    )
    wanted = [
        (sample.name, sorted(sample.labels.items()), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(wanted) > 100
    assert sorted(
        (name, sorted(labels.items()), float(value)) for name, labels, value in read
    ) == sorted(wanted)


@pytest.mark.parametrize(
    ("counts", "q", "wanted"),
    [
        ([0, 10, 10], 0.5, 1.5),  # ten values between 1 and 2: half of them below 1.5
        ([10, 10, 10], 0.5, 0.5),
        ([4, 8, 8], 0.75, 1.5),
        ([0, 0, 5], 0.99, 2.0),  # past the last bound only that much is known
        ([0, 0, 0], 0.5, None),
    ],
)
def test_a_quantile_is_where_a_histogram_has_it(page, counts, q, wanted):
    buckets = [{"le": le, "count": count} for le, count in zip((1, 2), counts, strict=False)]
    infinite = f"[...given.buckets, {{le: Infinity, count: {counts[-1]}}}]"
    found = call(page, "rates", f"m.quantile({infinite}, given.q)", buckets=buckets, q=q)
    assert found == wanted


def test_figures_are_differences_between_two_scrapes(page):
    before = """
retinaserve_requests_total{route="/v1/detect",outcome="ok"} 100
retinaserve_requests_total{route="/v1/detect",outcome="rejected"} 5
retinaserve_requests_total{route="/metrics",outcome="ok"} 50
retinaserve_request_duration_seconds_bucket{le="0.1"} 90
retinaserve_request_duration_seconds_bucket{le="0.2"} 100
retinaserve_request_duration_seconds_bucket{le="+Inf"} 100
retinaserve_batch_size_sum 200
retinaserve_batch_size_count 100
retinaserve_queue_depth 9
"""
    now = """
retinaserve_requests_total{route="/v1/detect",outcome="ok"} 120
retinaserve_requests_total{route="/v1/detect",outcome="rejected"} 8
retinaserve_requests_total{route="/v1/detect",outcome="timeout"} 2
retinaserve_requests_total{route="/metrics",outcome="ok"} 90
retinaserve_request_duration_seconds_bucket{le="0.1"} 90
retinaserve_request_duration_seconds_bucket{le="0.2"} 120
retinaserve_request_duration_seconds_bucket{le="+Inf"} 120
retinaserve_batch_size_sum 230
retinaserve_batch_size_count 110
retinaserve_queue_depth 3
"""
    found = call(
        page,
        "rates",
        "await import('/console/exposition.js').then(({parseExposition: read}) =>"
        " m.figuresOf(read(given.before), read(given.now), 2))",
        before=before,
        now=now,
    )
    assert found == pytest.approx(
        {"rate": 10, "refused": 2.5, "p50": 150, "p99": 199, "queue": 3, "batch": 3}
    )


@pytest.mark.parametrize(
    "text",
    ["cell.jpg", "my cell.jpg", "it's.png", "$(rm).jpg", '"q".jpg', "a\\b", "ü;&.jpg", "`x`"],
)
def test_a_quoted_word_is_that_word_to_a_shell(page, text):
    assert shlex.split(call(page, "curl", "m.quoted(given.text)", text=text)) == [text]


def test_the_query_says_all_that_differs_from_the_bundle(page):
    model = {
        "classes": ["RBC", "white, big", "7", "a b"],
        "thresholds": {"iou_threshold": 0.5, "max_detections": 300},
    }
    asked = {"threshold": 0.3, "iou": 0.5, "scale": 64, "classes": None}
    query = "m.queryOf(given.asked, given.model)"
    assert (
        call(page, "curl", query, asked=asked, model=model)
        == "score_threshold=0.3&scale=64&max_detections=300"
    )
    asked |= {"iou": 0.7, "classes": ["white, big", "7", "a b"]}
    # What the server would take for two names or for an index goes as its own index.
    assert (
        call(page, "curl", query, asked=asked, model=model)
        == "score_threshold=0.3&scale=64&iou_threshold=0.7&classes=1,2,a%20b&max_detections=300"
    )


def test_a_file_that_looks_like_an_option_or_standard_input_is_still_a_file(page):
    command = call(page, "curl", "m.curlCommand({file: '-'}, 'http://h/', true)")
    assert shlex.split(command.replace("\\\n", " ")) == [
        "curl", "--data-binary", "@./-", "-H", "Authorization: Bearer $RETINASERVE_API_KEY",
        "http://h/",
    ]  # fmt: skip


def test_the_stages_come_from_server_timing(page):
    header = "decode;dur=1.842, queue;dur=0.07, inference;desc=x;dur=54.863, junk"
    assert call(page, "api", "m.stagesOf(given.header)", header=header) == [
        {"name": "decode", "ms": 1.842},
        {"name": "queue", "ms": 0.07},
        {"name": "inference", "ms": 54.863},
    ]


def test_pairs_are_of_one_class_and_overlap_by_half_each_once(page):
    def found(*rows):
        return [{"box": box, "class_index": index, "score": 0.9} for box, index in rows]

    ours = found(
        ([0, 0, 10, 10], 0), ([0, 0, 10, 9], 0), ([20, 0, 30, 10], 0), ([40, 0, 50, 10], 1)
    )
    theirs = found(([0, 0, 10, 8], 0), ([20, 0, 26, 10], 1), ([40, 0, 50, 4], 1))
    pairs = call(
        page,
        "detections",
        "[...m.pairs(given.ours, [0, 1, 2, 3], given.theirs, [0, 1, 2])]",
        ours=ours,
        theirs=theirs,
    )
    assert pairs == [[0, 0]]


def test_the_first_classes_differ_in_colour_and_later_ones_in_dash(page):
    looks = call(page, "colours", "Array.from({length: 21}, (_, i) => m.colourOf(i) + m.dashOf(i))")
    assert len(set(looks)) == 21
