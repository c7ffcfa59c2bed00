"""Requests as hypothesis makes them: bodies, queries and headers, right and wrong."""

from __future__ import annotations

import base64
import json
from typing import NamedTuple

from hypothesis import strategies as st

from tests.service.fakes import picture
from tests.service.hostile import black

PICTURES = (picture(24, 16), black(24, 16, "JPEG"), b"", b"no picture", picture(24, 16)[:60])


class Sent(NamedTuple):
    """One POST /v1/detect."""

    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


some_bytes = st.one_of(st.sampled_from(PICTURES), st.binary(max_size=64))
some_text = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "0", "-1", "1e999", "nan", "NaN", "0.5", "64", "RBC", "xywh", "9" * 5000]),
)
base64s = st.one_of(
    some_bytes.map(lambda data: base64.b64encode(data).decode()),
    some_bytes.map(lambda data: "data:image/png;base64," + base64.b64encode(data).decode()),
    some_text,
)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | base64s,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["image", "images", "x", ""]) | some_text, inner, max_size=4
        )
    ),
    max_leaves=8,
)
json_bodies = st.one_of(
    st.builds(lambda image: {"image": image}, base64s),
    st.builds(lambda images: {"images": images}, st.lists(base64s, max_size=5)),
    any_json,
).map(lambda document: json.dumps(document).encode("utf-8", "surrogatepass"))


def _multipart(parts: list[tuple[bytes, bytes]], end: bytes) -> bytes:
    return b"".join(b"--b\r\n" + head + b"\r\n" + data + b"\r\n" for head, data in parts) + end


dispositions = st.one_of(
    st.just(b'Content-Disposition: form-data; name="a"; filename="a.png"\r\n'),
    st.just(b'Content-Disposition: form-data; name="a"\r\n'),
    st.builds(
        lambda name: b'Content-Disposition: form-data; name="' + name + b'"; filename=x\r\n',
        st.binary(max_size=12),
    ),
    st.binary(max_size=40),
)
multipart_bodies = st.builds(
    _multipart,
    st.lists(st.tuples(dispositions, some_bytes), max_size=4),
    st.sampled_from([b"--b--\r\n", b"--b--", b"--b", b""]),
)
header_values = st.binary(max_size=40).map(lambda value: value.replace(b"\0", b""))
content_types = st.one_of(
    st.sampled_from(
        [b"application/json", b"multipart/form-data; boundary=b", b"image/png", b"image/*",
         b'multipart/form-data; boundary="b"', b"multipart/form-data", b"text/plain; charset=x"]
    ),
    header_values,
)  # fmt: skip
bodies = st.one_of(
    st.tuples(st.just(b"application/json"), json_bodies),
    st.tuples(st.just(b"multipart/form-data; boundary=b"), multipart_bodies),
    st.tuples(content_types, st.one_of(some_bytes, json_bodies, multipart_bodies)),
)
other_headers = st.lists(
    st.tuples(
        st.sampled_from(
            [b"accept", b"x-request-id", b"traceparent", b"authorization", b"x-api-key",
             b"content-length", b"x-retinaserve-chaos", b"expect", b"content-encoding"]
        ),
        st.one_of(
            header_values,
            st.sampled_from(
                [b"image/png", b"image/jpeg;q=x", b"*/*;q=0.1", b"5", b"-1", b"9" * 5000,
                 b"application/json;q=nan", b"image/png;q=inf, */*"]
            ),
        ),
    ),
    max_size=3,
)  # fmt: skip
parameters = st.tuples(
    st.sampled_from(
        ["score_threshold", "iou_threshold", "max_detections", "classes", "scale", "box_format",
         "timeout_ms", "what"]
    ),
    some_text,
)  # fmt: skip
queries = st.one_of(
    st.just(b""),
    st.lists(parameters, max_size=3).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode(
            "utf-8", "surrogatepass"
        )
    ),
    st.binary(max_size=40),
)
requests = st.builds(
    lambda query, typed, headers: Sent(query, [(b"content-type", typed[0]), *headers], typed[1]),
    queries,
    bodies,
    other_headers,
)
