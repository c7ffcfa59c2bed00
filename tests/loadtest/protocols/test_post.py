from __future__ import annotations

import pytest

from loadtest.protocols.box_layout import BoxLayout
from loadtest.protocols.post import Post
from loadtest.protocols.protocol import Answer, Call, Detection, Picture
from model.errors import InputError

PICTURE = Picture(b"picture", "cell.png", (128, 160))


def test_the_bytes_go_to_each_url_as_it_is() -> None:
    protocol = Post(["http://a/find?x=1", "http://b/"], {"Content-Type": "image/png"})
    first, second = (protocol.call(number, PICTURE, None) for number in range(2))
    assert first == Call("http://a/find?x=1", b"picture", {"Content-Type": "image/png"})
    assert (second.url, second.server) == ("http://b/", 1)
    plain = Post(["http://a"]).call(0, PICTURE, None)
    assert plain.headers == {"Content-Type": "application/octet-stream"}


def test_the_scale_goes_where_the_url_says() -> None:
    protocol = Post(["http://a/find?size={scale}"])
    assert protocol.call(0, PICTURE, 480).url == "http://a/find?size=480"


def test_a_scale_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(InputError, match=r"http://a: write \{scale\} where the scale goes"):
        Post(["http://a"]).call(0, PICTURE, 480)


def test_a_place_without_a_scale_is_refused() -> None:
    with pytest.raises(InputError, match=r"http://a/\{scale\}: give scales for \{scale\}"):
        Post(["http://a/{scale}"]).call(0, PICTURE, None)


def test_any_answer_will_do_unless_boxes_are_to_be_read() -> None:
    timed = {"Server-Timing": "work;dur=3"}
    assert Post(["http://a"]).read(Call("", b""), timed, b"<html>") == Answer((), {"work": 3.0})
    body = b'{"detections": [{"box": [1, 2, 4, 8], "label": "cat", "score": 0.5}]}'
    found = Post(["http://a"], layout=BoxLayout()).read(Call("", b""), {}, body)
    assert found.detections == [Detection((1.0, 2.0, 3.0, 6.0), "cat", 0.5)]
