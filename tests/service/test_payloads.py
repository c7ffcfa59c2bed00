from __future__ import annotations

import base64
import contextlib
import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import Malformed
from service.payloads import is_picture, pictures_of

ONE, TWO = b"\xff\xd8\xff first", b"\x89PNG second\r\n--not-the-boundary"


@pytest.fixture(scope="module")
def quiet_parser():
    """The parser warns of every byte that it does not expect; the service turns that off too."""
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    yield
    logging.getLogger("python_multipart").setLevel(logging.NOTSET)


def multipart(*files: bytes, boundary: str = "b0", end: bool = True) -> bytes:
    parts = b"".join(
        b"--" + boundary.encode() + b'\r\nContent-Disposition: form-data; name="f%d"; '
        b'filename="x.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' % i + data + b"\r\n"
        for i, data in enumerate(files)
    )
    return parts + (b"--" + boundary.encode() + b"--\r\n" if end else b"")


pytestmark = pytest.mark.usefixtures("quiet_parser")

FORM = "multipart/form-data; boundary=b0"


@pytest.mark.parametrize(
    ("content_type", "alone"),
    [
        (None, True),
        ("", True),
        ("image/jpeg", True),
        ("application/x-www-form-urlencoded", True),
        ("nonsense", True),
        (FORM, False),
        ("Multipart/Form-Data", False),
        ("application/json; charset=utf-8", False),
    ],
)
def test_what_is_a_picture_by_its_type_is_not_taken_apart(content_type, alone):
    assert is_picture(content_type) is alone
    if alone:
        assert pictures_of(content_type, ONE, 4) == [ONE]
    else:
        with pytest.raises(Malformed):
            pictures_of(content_type, ONE, 4)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", None, "junk"],
)
def test_other_types_are_the_picture_itself(content_type):
    assert pictures_of(content_type, ONE, 4) == [ONE]


def test_multipart_gives_its_files_in_order_whatever_their_names():
    assert pictures_of(FORM, multipart(ONE, TWO), 4) == [ONE, TWO]


def test_multipart_boundary_may_be_quoted():
    assert pictures_of('multipart/form-data; boundary="b0"', multipart(ONE), 4) == [ONE]


def test_multipart_ignores_fields_that_are_not_files():
    field = b'--b0\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    assert pictures_of(FORM, field + multipart(ONE), 4) == [ONE]


def test_json_gives_one_image_or_several():
    assert pictures_of("application/json", json.dumps({"image": b64(ONE)}).encode(), 4) == [ONE]
    both = json.dumps({"images": [b64(ONE), "data:image/png;base64," + b64(TWO)]}).encode()
    assert pictures_of("application/json; charset=utf-8", both, 4) == [ONE, TWO]


BAD_JSON = [
    (b"{", "not JSON"),
    (b"\xff\xfe{}", "not UTF-8"),
    (b"[" * 100_000, "nests too deep"),
    (b"[" + b"[]," * 1_000_000 + b"[]]", "holds more than 2,000,000 values"),
    (b"[]", "must be"),
    (b'"image"', "must be"),
    (b"{}", "must be"),
    (b'{"images": []}', "must be"),
    (b'{"image": "eA==", "scale": 3}', "must be"),
    (b'{"image": 7}', "image must be a string"),
    (b'{"images": ["eA==", null]}', r"images\[1\] must be a string"),
    (b'{"image": "a*b"}', "image is not base64"),
    (b'{"image": "abc"}', "image is not base64"),
    (b'{"image": "\xc3\xa4"}', "image is not base64"),
    (b'{"image": "data:image/png,xyz"}', "only data: URIs with ;base64"),
    (b'{"image": "data:image/png;base64"}', "only data: URIs with ;base64"),
    (b'{"image": "http://169.254.169.254/x.png"}', "image is a URL: images are not fetched"),
    (b'{"image": ""}', "one of the images is empty"),
    (b'{"images": ["eA==", "eA==", "eA=="]}', "up to 2"),
]


@pytest.mark.parametrize(("body", "detail"), BAD_JSON)
def test_bad_json_is_malformed_with_a_reason(body, detail):
    with pytest.raises(Malformed, match=detail):
        pictures_of("application/json", body, 2)


BAD_FORMS = [
    ("multipart/form-data", multipart(ONE), "needs its boundary"),
    ("multipart/form-data; boundary=" + "b" * 300, multipart(ONE), "malformed"),
    (FORM, b"no boundary here", "malformed"),
    (FORM, multipart(ONE, end=False), "cut short"),
    (FORM, multipart(), "no file field"),
    (FORM, multipart(ONE, ONE, ONE), "up to 2"),
    (FORM, multipart(ONE, b""), "empty"),
    (FORM, b"--b0\r\nX: y\r\n\r\nz\r\n--b0--\r\n", "malformed"),
    (
        FORM,
        b'--b0\r\nContent-Disposition: form-data; name="n"\r\n\r\n\r\n' * 100 + multipart(ONE),
        "more than 64 form fields",
    ),
]


@pytest.mark.parametrize(("content_type", "body", "detail"), BAD_FORMS)
def test_bad_multipart_is_malformed_with_a_reason(content_type, body, detail):
    with pytest.raises(Malformed, match=detail):
        pictures_of(content_type, body, 2)


@pytest.mark.parametrize("content_type", ["image/png", "application/json", FORM, None])
def test_an_empty_body_is_malformed(content_type):
    with pytest.raises(Malformed, match="the body is empty"):
        pictures_of(content_type, b"", 2)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300), st.sampled_from([FORM, "application/json", "multipart/form-data"]))
def test_no_body_ends_in_anything_but_pictures_or_malformed(body, content_type):
    for whole in (body, multipart(ONE)[: len(body)] + body, b'{"image": "' + body):
        with contextlib.suppress(Malformed):
            assert all(pictures_of(content_type, whole, 2))


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60))
def test_no_content_type_ends_in_anything_but_pictures_or_malformed(content_type):
    for header in (content_type, "multipart/form-data; boundary=" + content_type):
        with contextlib.suppress(Malformed):
            assert pictures_of(header, multipart(ONE), 2)
