"""The frames of an AV1 stream and what its decoder takes for each, by the stream's own headers.

Source: AV1 Bitstream & Decoding Process Specification, 5.3 to 5.9; names are those used there.
Departs: where dav1d reads on past what the specification forbids, this follows dav1d.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from service.pictures.bits import Bits
from service.pictures.refusals import broken, too_much

MAX_UNITS = 100
"""OBUs of a stream; that of a still picture has 2 or 3, one of three layers a dozen."""

WORK_BYTES = 1
"""A pixel's share of what dav1d keeps beside the planes: block levels, filter masks, motion."""

ADAPTIVE = 2
_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME, _REDUNDANT_FRAME_HEADER = 1, 3, 6, 7
_KEY_FRAME, _SWITCH_FRAME = 0, 3


class Frame(NamedTuple):
    """A frame of a stream: the most pixels that it can have, and its decoder's bytes for it."""

    width: int
    height: int
    bytes: int


class _Sequence(NamedTuple):
    """What a sequence header says that bears on the size of frames, and on reading their headers.

    `plane_halves`: samples of all planes for two pixels. `pictures`: copies of a frame's planes,
    for super-resolution and film grain each one more. `delay_bits`, `id_bits`: of two fields that
    a frame header may have.
    """

    size: tuple[int, int]
    size_bits: tuple[int, int]
    reduced: bool
    delay_bits: int
    id_bits: int
    screen_content: int
    integer_motion: int
    sample_bytes: int
    plane_halves: int
    pictures: int


def frames(data: bytes | memoryview) -> Iterator[Frame]:
    """Each frame in a stream, shown or not. Raises Undecodable where it can't be followed."""
    sequence: _Sequence | None = None
    for kind, content in _units(data):
        if kind == _SEQUENCE_HEADER:
            sequence = _read_sequence(Bits(content, "AVIF"))
        elif kind in (_FRAME_HEADER, _FRAME, _REDUNDANT_FRAME_HEADER):
            if sequence is None:
                raise broken("AVIF")
            yield _frame(sequence, Bits(content, "AVIF"))


def _units(data: bytes | memoryview) -> Iterator[tuple[int, bytes | memoryview]]:
    """The type and content of each OBU (5.3)."""
    at = 0
    for _ in range(MAX_UNITS):
        if at >= len(data):
            return
        header = data[at]
        at += 2 if header & 4 else 1
        size = len(data) - at
        if header & 2:
            size = 0
            for shift in range(0, 56, 7):
                if at >= len(data):
                    raise broken("AVIF")
                size |= (data[at] & 0x7F) << shift
                at += 1
                if not data[at - 1] & 0x80:
                    break
            else:
                raise broken("AVIF")
        if not 0 <= size <= len(data) - at:
            raise broken("AVIF")
        yield header >> 3 & 15, data[at : at + size]
        at += size
    raise too_much("AVIF", "parts of a stream", MAX_UNITS)


def _read_sequence(bits: Bits) -> _Sequence:
    """The sequence header (5.5)."""
    take = bits.take
    profile, _still, reduced = take(3), take(1), bool(take(1))
    delay_bits = id_bits = 0
    if reduced:
        take(5)  # seq_level_idx
    else:
        delay_bits = _skip_timing(bits)
    width_bits, height_bits = take(4) + 1, take(4) + 1
    size = take(width_bits) + 1, take(height_bits) + 1
    if not reduced and take(1):  # frame_id_numbers_present_flag
        id_bits = take(4) + 2
        id_bits += take(3) + 1
    take(3)  # use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    screen_content = integer_motion = ADAPTIVE
    if not reduced:
        take(4)  # enable_interintra_compound to enable_dual_filter
        order_hint = take(1)
        if order_hint:
            take(2)  # enable_jnt_comp, enable_ref_frame_mvs
        screen_content = ADAPTIVE if take(1) else take(1)
        if screen_content:
            integer_motion = ADAPTIVE if take(1) else take(1)
        if order_hint:
            take(3)  # order_hint_bits
    superres = take(1)
    take(2)  # enable_cdef, enable_restoration
    sample_bytes, plane_halves = _read_colours(bits, profile)
    return _Sequence(
        size, (width_bits, height_bits), reduced, delay_bits, id_bits, screen_content,
        integer_motion, sample_bytes, plane_halves, pictures=1 + superres + take(1),
    )  # fmt: skip


def _skip_timing(bits: Bits) -> int:
    """The bits of a frame's presentation time, 0 where it has none; reads on to the size."""
    take = bits.take
    delay_bits = buffer_bits = equal_intervals = 0
    model = False
    if take(1):  # timing_info_present_flag
        take(64)
        equal_intervals = take(1)
        if equal_intervals:
            zeros = 0
            while not take(1):
                zeros += 1
                if zeros == 32:
                    raise broken("AVIF")
            take(zeros)
        model = bool(take(1))
        if model:
            buffer_bits = take(5) + 1
            take(32 + 5)
            delay_bits = take(5) + 1
    display = take(1)
    for _ in range(take(5) + 1):  # operating points
        take(12)
        level = take(5)
        if level > 7:
            take(1)
        if model and take(1):
            take(2 * buffer_bits + 1)
        if display and take(1):
            take(4)
    return 0 if equal_intervals else delay_bits


def _read_colours(bits: Bits, profile: int) -> tuple[int, int]:
    """Bytes of a sample, and samples of all planes for two pixels (5.5.2)."""
    take = bits.take
    deep = take(1)
    twelve = profile == 2 and deep and take(1)
    grey = profile != 1 and take(1)
    colours = take(24) if take(1) else 0
    if grey:
        take(1)  # color_range
        return 1 + deep, 2
    halves = {0: 3, 1: 6}.get(profile, 4)
    if colours == 0x010D00:  # BT.709, sRGB, identity: RGB itself
        halves = 6
    else:
        take(1)  # color_range
        if twelve:
            halves = 6
            if take(1):
                halves = 3 if take(1) else 4
        if halves == 3:
            take(2)  # chroma_sample_position
    take(1)  # separate_uv_delta_q
    return 1 + deep, halves


def _frame(sequence: _Sequence, bits: Bits) -> Frame:
    """What a frame header says (5.9.2), read as far as to whether the frame has its own size."""
    width, height = sequence.size
    if not sequence.reduced and _has_own_size(sequence, bits):
        # Not more than the sequence's, says the specification; dav1d takes what fits the field.
        width, height = (
            max(side, 1 << n) for side, n in zip(sequence.size, sequence.size_bits, strict=True)
        )
    row = _round_up(width) * sequence.sample_bytes + 64
    planes = row * _round_up(height) * sequence.plane_halves // 2
    return Frame(width, height, planes * sequence.pictures + WORK_BYTES * width * height)


def _has_own_size(sequence: _Sequence, bits: Bits) -> bool:
    take = bits.take
    if take(1):  # show_existing_frame
        return False
    kind, shown = take(2), take(1)
    if not shown:
        take(1)  # showable_frame
    else:
        take(sequence.delay_bits)
    if kind != _SWITCH_FRAME and not (kind == _KEY_FRAME and shown):
        take(1)  # error_resilient_mode
    take(1)  # disable_cdf_update
    screen_content = take(1) if sequence.screen_content == ADAPTIVE else sequence.screen_content
    if screen_content and sequence.integer_motion == ADAPTIVE:
        take(1)
    take(sequence.id_bits)
    return kind == _SWITCH_FRAME or bool(take(1))


def _round_up(side: int) -> int:
    """To 128 pixels, as dav1d allocates."""
    return -(-side // 128) * 128
