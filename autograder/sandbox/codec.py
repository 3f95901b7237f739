"""Plain data as bytes and back: what may cross between the grader and a student's process.

Arrays of any plain dtype, torch tensors, numbers, text, bytes, lists, tuples, dicts and None. Nothing else: no pickle,
no object arrays, no classes. Decoding trusts nothing: every length is checked against the bytes that are there before
anything is allocated, and nesting, counts and sizes are bounded.

A value is one tag byte and its content; lengths are unsigned 32-bit, little endian::

    N T F                  None, True, False            i len text           int, as decimal digits
    f 8 bytes              float                        c 16 bytes           complex
    s len utf-8            text                         b len bytes          bytes
    l count values         list     t count values      tuple
    d count key value ...  dict                         a len dtype, ndim, dims, data: array   A: the same, a tensor

This module and its neighbours `policy` and `zygote` run inside the sandbox too, so they import nothing of the project.
"""

from __future__ import annotations

import struct
import sys
from typing import Any

import numpy as np

MAX_BYTES = 64 * 2**20  # one message
MAX_DEPTH = 32
MAX_ITEMS = 1_000_000  # values in one message
MAX_KEYS = 10_000  # of all dicts in one message: keys with equal hashes take a time that grows with their square
MAX_NDIM = 8
MAX_DIGITS = 1_000

_LENGTH = struct.Struct("<I")
_DIM = struct.Struct("<Q")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")
# Booleans, integers, floats and complex numbers of every width, in native little-endian order.
_DTYPES = {np.dtype(code).str: np.dtype(code) for code in "?bhilqBHILQefdFD"}


class CodecError(ValueError):
    """The value, or the bytes, are not of the kind that may cross."""


def encode(value: Any) -> bytes:
    """Return `value` as bytes.

    NumPy scalars become Python numbers, subclasses of the plain types are sent as their plain type, tensors are moved
    to the CPU. Raises `CodecError` for any other type, and for values that are too large or too deeply nested.
    """
    parts: list[bytes] = []
    budget = [MAX_ITEMS, MAX_BYTES, MAX_KEYS]
    _encode(value, parts, budget, 0)
    return b"".join(parts)


def decode(data: bytes) -> Any:
    """Return the value that `data` holds; `CodecError` if it holds anything but exactly one value."""
    reader = _Reader(data)
    try:
        value = reader.value(0)
    except CodecError:
        raise
    except (ValueError, OverflowError, MemoryError) as error:  # from NumPy, of arrays that cannot be
        raise CodecError(f"the message cannot be read: {error}") from error
    if reader.position != len(data):
        raise CodecError(f"{len(data) - reader.position} bytes follow the value")
    return value


def _encode(value: Any, parts: list[bytes], budget: list[int], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CodecError(f"the value is nested more than {MAX_DEPTH} deep")
    budget[0] -= 1
    if budget[0] < 0:
        raise CodecError(f"the value has more than {MAX_ITEMS:,} parts")

    def emit(*chunks: bytes) -> None:
        budget[1] -= sum(map(len, chunks))
        if budget[1] < 0:
            raise CodecError(f"the value takes more than {MAX_BYTES // 2**20} MiB")
        parts.extend(chunks)

    def emit_sized(tag: bytes, content: bytes) -> None:
        emit(tag, _LENGTH.pack(len(content)), content)

    if isinstance(value, np.generic):
        value = value.item()
    tensor = getattr(sys.modules.get("torch"), "Tensor", ())  # no type at all unless torch is loaded
    if value is None:
        emit(b"N")
    elif isinstance(value, bool):
        emit(b"T" if value else b"F")
    elif isinstance(value, int):
        if value.bit_length() > 3 * MAX_DIGITS:
            raise CodecError(f"the integer has more than {MAX_DIGITS} digits")
        emit_sized(b"i", b"%d" % value)
    elif isinstance(value, float):
        emit(b"f", _FLOAT.pack(value))
    elif isinstance(value, complex):
        emit(b"c", _COMPLEX.pack(value.real, value.imag))
    elif isinstance(value, str):
        emit_sized(b"s", str.__str__(value).encode("utf-8", "replace"))
    elif isinstance(value, bytes | bytearray):
        emit_sized(b"b", bytes(value))
    elif isinstance(value, np.ndarray):
        emit(*_array_chunks(b"a", value))
    elif isinstance(value, tensor):
        emit(*_array_chunks(b"A", value.detach().cpu().numpy()))
    elif isinstance(value, list | tuple):
        emit(b"l" if isinstance(value, list) else b"t", _LENGTH.pack(len(value)))
        for item in value:
            _encode(item, parts, budget, depth + 1)
    elif isinstance(value, dict):
        budget[2] -= len(value)
        if budget[2] < 0:
            raise CodecError(f"the value has dicts of more than {MAX_KEYS:,} keys")
        emit(b"d", _LENGTH.pack(len(value)))
        for key, item in value.items():
            _encode(key, parts, budget, depth + 1)
            _encode(item, parts, budget, depth + 1)
    else:
        raise CodecError(
            f"a value of type {type(value).__name__!r} cannot be graded; "
            "return numbers, text, arrays, tensors, or lists, tuples and dicts of them"
        )


def _array_chunks(tag: bytes, array: np.ndarray) -> list[bytes]:
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in _DTYPES:
        raise CodecError(f"an array of dtype {array.dtype} cannot be graded; use booleans, integers or floats")
    if array.ndim > MAX_NDIM:
        raise CodecError(f"the array has {array.ndim} axes, more than {MAX_NDIM}")
    if array.nbytes > MAX_BYTES:
        raise CodecError(f"the array takes {array.nbytes / 2**20:.0f} MiB, more than {MAX_BYTES // 2**20}")
    name = dtype.str.encode()
    dims = b"".join(_DIM.pack(size) for size in array.shape)
    data = np.ascontiguousarray(array, dtype=dtype).tobytes()
    return [tag, _LENGTH.pack(len(name)), name, _LENGTH.pack(array.ndim), dims, data]


class _Reader:
    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_BYTES + 64:
            raise CodecError(f"the message takes more than {MAX_BYTES // 2**20} MiB")
        self.data = data
        self.position = 0
        self.items = MAX_ITEMS
        self.keys = MAX_KEYS

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise CodecError("the message ends early")
        chunk = self.data[self.position : end]
        self.position = end
        return chunk

    def length(self) -> int:
        return _LENGTH.unpack(self.take(4))[0]

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CodecError(f"the message is nested more than {MAX_DEPTH} deep")
        self.items -= 1
        if self.items < 0:
            raise CodecError(f"the message has more than {MAX_ITEMS:,} parts")
        tag = self.take(1)
        if tag == b"N":
            return None
        if tag in (b"T", b"F"):
            return tag == b"T"
        if tag == b"i":
            return self.integer()
        if tag == b"f":
            return _FLOAT.unpack(self.take(8))[0]
        if tag == b"c":
            return complex(*_COMPLEX.unpack(self.take(16)))
        if tag == b"s":
            return self.text(self.length())
        if tag == b"b":
            return self.take(self.length())
        if tag in (b"l", b"t"):
            items = [self.value(depth + 1) for _ in range(self.count())]
            return items if tag == b"l" else tuple(items)
        if tag == b"d":
            return self.dictionary(depth)
        if tag in (b"a", b"A"):
            return self.array(as_tensor=tag == b"A")
        raise CodecError(f"unknown tag {tag!r}")

    def count(self) -> int:
        count = self.length()
        # Each value takes one byte at least, so a larger count is a lie; this bounds the loop before it starts.
        if count > len(self.data) - self.position:
            raise CodecError(f"a list of {count} values cannot fit in the message")
        return count

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CodecError("the text is not UTF-8") from error

    def integer(self) -> int:
        size = self.length()
        if size > MAX_DIGITS:
            raise CodecError(f"the integer has more than {MAX_DIGITS} digits")
        digits = self.take(size)
        if not digits.removeprefix(b"-").isdigit():
            raise CodecError(f"not an integer: {digits[:20]!r}")
        return int(digits)

    def dictionary(self, depth: int) -> dict:
        result = {}
        for _ in range(self.count()):
            self.keys -= 1
            if self.keys < 0:
                raise CodecError(f"the message has dicts of more than {MAX_KEYS:,} keys")
            key = self.value(depth + 1)
            try:
                hash(key)
            except TypeError as error:
                raise CodecError(f"a {type(key).__name__} cannot be a dict's key") from error
            result[key] = self.value(depth + 1)
        return result

    def array(self, as_tensor: bool) -> Any:
        name = self.text(self.length())
        dtype = _DTYPES.get(name)
        if dtype is None:
            raise CodecError(f"arrays of dtype {name[:20]!r} may not cross")
        ndim = self.length()
        if ndim > MAX_NDIM:
            raise CodecError(f"the array has {ndim} axes, more than {MAX_NDIM}")
        shape = tuple(_DIM.unpack(self.take(8))[0] for _ in range(ndim))
        size = dtype.itemsize
        for dim in shape:
            size *= dim
            if dim > MAX_BYTES or size > MAX_BYTES:
                raise CodecError(f"an array of shape {shape} is too large")
        array = np.frombuffer(self.take(size), dtype).reshape(shape).copy()
        # Where nobody has loaded torch yet, no student's process may make the grader do it: that takes seconds.
        torch = sys.modules.get("torch")
        return torch.from_numpy(array) if as_tensor and torch is not None else array
