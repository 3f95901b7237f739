"""The codec carries plain data unchanged, refuses all else, and is not harmed by any bytes."""

import math
import struct
import tracemalloc
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograder.sandbox import codec
from autograder.sandbox.codec import CodecError, decode, encode

DTYPES = [np.dtype(code) for code in "?bBhHiIlLqQefdFD"]
# The largest amount that decoding may hold at once: the message, its values as Python objects, and a little.
BOUND_PER_BYTE, BOUND = 150, 2**20

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.binary()
# A lone surrogate is no text; one goes out as "?", see below.
plain = plain | st.text(st.characters(codec="utf-8"))
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
)
keys = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")) | st.binary()
values = st.recursive(
    plain | arrays,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=20,
)


def same(a, b) -> bool:
    """Equal in type, structure and every bit of every number."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(map(same, a, b)) and all(map(same, a.values(), b.values()))
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    return a == b


# ------------------------------------------------------------------------------------------------------- round trips


@given(values)
def test_plain_data_comes_back_as_it_was(value):
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize("bits", [0x7FF8000000000001, 0xFFF0000000000001, 0x7FF0000000000000, 0x8000000000000000])
def test_every_bit_of_a_float_survives(bits):
    array = np.array([bits], np.uint64).view(np.float64)
    assert decode(encode(array)).view(np.uint64)[0] == bits


@pytest.mark.parametrize("number", [0, -1, 2**63, -(2**64), 10**900 + 7, -(10**900)])
def test_integers_of_any_usual_size(number):
    assert decode(encode(number)) == number


def test_layouts_and_byte_orders_become_one():
    array = np.arange(24, dtype=">i4").reshape(2, 3, 4).transpose(2, 0, 1)[::-1]
    found = decode(encode(array))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.dtype("<i4") and found.flags["C_CONTIGUOUS"] and found.flags["WRITEABLE"]


def test_numpy_scalars_become_python_numbers():
    found = decode(encode([np.float32(0.5), np.uint8(7), np.bool_(True), np.complex64(1j)]))
    assert same(found, [0.5, 7, True, 1j])


def test_subclasses_of_plain_types_come_as_the_plain_type():
    point = namedtuple("point", "x y")(1, 2)
    assert same(decode(encode([point, OrderedDict(a=1), bytearray(b"x")])), [(1, 2), {"a": 1}, b"x"])


def test_a_lone_surrogate_becomes_a_question_mark():
    assert decode(encode("a\ud800b")) == "a?b"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool", "complex64"])
def test_tensors_come_back_as_tensors(dtype):
    import torch

    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)).requires_grad_(dtype == "float32")
    found = decode(encode({"t": tensor.T}))["t"]
    assert isinstance(found, torch.Tensor) and found.dtype == tensor.dtype and torch.equal(found, tensor.T)


# ------------------------------------------------------------------------------------------------------ what may not


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        print,
        np.array([object()]),
        np.array(["text"]),
        np.array("2020-01-01", "M8[D]"),
        type,
        iter([]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_refused(value):
    for wrapped in (value, [value], {"key": value}):
        with pytest.raises(CodecError):
            encode(wrapped)


def nested(depth: int) -> list:
    value = []
    for _ in range(depth):
        value = [value]
    return value


def circle() -> list:
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        nested(100),
        nested(100_000),
        circle(),
        10**2000,
        bytes(codec.MAX_BYTES + 1),
        np.zeros(codec.MAX_BYTES + 1, np.uint8),
        np.broadcast_to(np.uint8(0), (2**20, 2**20)),
        [None] * (codec.MAX_ITEMS + 1),
    ],
    ids="deep deeper circle digits bytes array broadcast items".split(),
)
def test_what_is_too_large_or_too_deep_is_refused(value):
    with pytest.raises(CodecError):
        encode(value)


class HostileArray(np.ndarray):
    def __array_finalize__(self, _):
        pass

    def tobytes(self, *_):
        return b"not these bytes"

    @property
    def nbytes(self):
        return 0


class HostileText(str):
    def encode(self, *_):
        raise RuntimeError("hostile")

    def __str__(self):
        return "forged"


class HostileInt(int):
    def __format__(self, _):
        return "9" * 10


class HostileList(list):
    def __len__(self):
        return 2**40


@pytest.mark.parametrize(
    ("value", "honest"),
    [(HostileText("text"), "text"), (HostileInt(3), 3), (np.arange(3).view(HostileArray), np.arange(3))],
    ids=["text", "int", "array"],
)
def test_overridden_methods_of_subclasses_have_no_say(value, honest):
    assert same(decode(encode(value)), honest)


def test_a_lying_length_cannot_deceive_the_reader():
    with pytest.raises((CodecError, struct.error)):
        decode(encode(HostileList([1, 2])))


# -------------------------------------------------------------------------------------------------------------- fuzz


def decodes_within_bounds(data: bytes) -> None:
    tracemalloc.start()
    try:
        decode(data)
    except CodecError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= BOUND_PER_BYTE * len(data) + BOUND


@given(st.binary(max_size=400))
def test_random_bytes_are_a_value_or_an_error(data):
    decodes_within_bounds(data)


tags = st.sampled_from([bytes([tag]) for tag in b"NTFifcsbltdaA"])
lengths = st.integers(0, 2**32 - 1).map(lambda n: struct.pack("<I", n)) | st.sampled_from(
    [struct.pack("<I", n) for n in (0, 1, 2, 3, 8, 0xFFFFFFFF)]
)
names = st.sampled_from([b"<f8", b"|O", b"|u1", b"<f16", b"<M8[D]", b"<U9", b"|b1"]).map(
    lambda name: struct.pack("<I", len(name)) + name
)


@given(st.lists(tags | lengths | names | st.binary(max_size=8), max_size=40).map(b"".join))
def test_bytes_that_look_like_messages_are_a_value_or_an_error(data):
    decodes_within_bounds(data)


@given(values, st.data())
def test_damaged_messages_are_a_value_or_an_error(value, data):
    message = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    decodes_within_bounds(bytes(message))


@given(values, st.data())
def test_a_message_cut_short_or_followed_by_more_is_an_error(value, data):
    message = encode(value)
    with pytest.raises(CodecError):
        decode(message[: data.draw(st.integers(0, len(message) - 1))])
    with pytest.raises(CodecError):
        decode(message + b"N")


def header(dtype: bytes, *shape: int) -> bytes:
    return b"a" + struct.pack("<I", len(dtype)) + dtype + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)


@pytest.mark.parametrize(
    "data",
    [
        header(b"<f8", 2**62, 0),
        header(b"<f8", 2**63, 2**63),
        header(b"|u1", 2**26 + 1),
        header(b"<f8", *[1] * 9),
        header(b"|O", 1) + bytes(8),
        header(b"<f8", 3) + bytes(23),
        b"l" + struct.pack("<I", 2**32 - 1) + b"N",
        b"d" + struct.pack("<I", 1) + b"l" + struct.pack("<I", 0) + b"N",
        b"i" + struct.pack("<I", 3) + b"1_0",
        b"i" + struct.pack("<I", 2) + "²".encode(),
        b"s" + struct.pack("<I", 1) + b"\xff",
        b"l\x01\0\0\0" * 5000 + b"N",
        b"",
        b"?",
    ],
    ids=range(14),
)
def test_lies_are_errors_and_cost_no_memory(data):
    tracemalloc.start()
    with pytest.raises(CodecError):
        decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BOUND


def test_a_nan_key_is_no_way_to_more_items_than_bytes():
    assert math.isnan(next(iter(decode(encode({math.nan: 1})))))
