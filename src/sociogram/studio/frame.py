"""The frame: a JSON header and typed arrays in one compressed block. The layout is specified in docs/frame.md."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import numpy as np

from sociogram import InputError

MAGIC = b"SGF1"
VERSION = 1
_KINDS = {"f4": np.float32, "f2": np.float16, "u1": np.uint8, "u2": np.uint16, "u4": np.uint32}
_ALIGNED = 8


class ArrayEntry(TypedDict):
    """Where an array lies: `offset` in bytes from the start of the arrays."""

    dtype: Literal["f4", "f2", "u1", "u2", "u4"]
    shape: list[int]
    offset: int


class ModelInfo(TypedDict):
    """The model recorded."""

    name: str
    d_model: int
    logits: bool


class Source(TypedDict):
    """How to get the recording again; `text` is null where it was not made from one."""

    model: str
    text: str | None
    sociogram: str


class Stop(TypedDict):
    """One place on the way: after which part of which layer; layer -1 where one begins."""

    layer: int
    part: str


class LayerInfo(TypedDict):
    """A layer's standing in the account, and the stops after its attention and before it."""

    status: Literal["closed", "opaque", "unsupported"]
    stop: int
    before: int


class Prediction(TypedDict):
    """A next token."""

    token: str
    probability: float


class AuditInfo(TypedDict):
    """The proof; null where it cannot be had. `checked`: so many tokens were checked while recording; null: all, afterwards."""

    relative_error: float | None
    null_drift: float | None
    checked: int | None


class Streamed(TypedDict):
    """A recording that keeps the `top` strongest keys of each reader and head, strongest `by` this."""

    top: int
    by: Literal["message", "attention"]


class ViewInfo(TypedDict):
    """One projection."""

    name: str
    label: str
    components: list[str]
    variance: list[float]
    null_variance: list[float] | None
    scale: float
    fitted_without: list[int]
    note: str | None


class Meaning(TypedDict):
    """One thing that arrows can mean."""

    name: Literal["message", "attention", "contribution", "toward"]
    label: str
    signed: bool
    token: str | None


class Words(TypedDict):
    """The logit lens: texts, and the stops and tokens that have words."""

    vocabulary: list[str]
    stops: list[int]
    tokens: list[int]


class RunInfo(TypedDict):
    """One recording. `measures` holds `names` and for each name a dict of lists over the stops.

    `prompt`: so many tokens were read, those after them written by the model; null where none was. `streamed`: null of a dense
    recording.
    """

    name: str
    tokens: list[str]
    prompt: int | None
    streamed: Streamed | None
    stops: list[Stop]
    layers: list[LayerInfo]
    heads: int
    causal: bool
    predictions: list[Prediction]
    audit: AuditInfo
    views: list[ViewInfo]
    measures: dict[str, Any]
    meanings: list[Meaning]
    words: Words | None
    neighbours: int


class Header(TypedDict):
    """All that is said in words; numbers in bulk are in the arrays."""

    format: Literal["sociogram-frame"]
    version: Literal[1]
    model: ModelInfo
    source: Source
    runs: list[RunInfo]
    arrays: dict[str, ArrayEntry]


def encode(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """One block of a header (its `arrays` are filled in here) and arrays of the types f4, f2, u1, u2, u4.

    Raises:
        InputError: an array of another type, or a header with numbers that JSON does not have (NaN, infinity).
    """
    entries: dict[str, ArrayEntry] = {}
    parts: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        kind = next((k for k, dtype in _KINDS.items() if array.dtype == dtype), None)
        if kind is None:
            raise InputError(f"array {name!r} is of type {array.dtype}; a frame holds {', '.join(_KINDS)}")
        entries[name] = {"dtype": kind, "shape": list(array.shape), "offset": offset}  # type: ignore[typeddict-item]
        data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        parts.append(data + bytes(-len(data) % _ALIGNED))
        offset += len(parts[-1])
    try:
        text = json.dumps({**header, "arrays": entries}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise InputError(f"the header holds a number that JSON does not have: {error}") from error
    head = text.encode()
    head += b" " * (-(len(MAGIC) + 4 + len(head)) % _ALIGNED)
    return gzip.compress(b"".join([MAGIC, struct.pack("<I", len(head)), head, *parts]), compresslevel=6, mtime=0)


def decode(block: bytes) -> tuple[Header, dict[str, np.ndarray]]:
    """The header and arrays of a block.

    Raises:
        InputError: no frame, a damaged one, or one of another version.
    """
    try:
        plain = gzip.decompress(block)
    except (OSError, EOFError) as error:
        raise InputError(f"this is no frame of Sociogram: {error}") from error
    if plain[:3] != MAGIC[:3]:
        raise InputError("this is no frame of Sociogram: it does not begin with SGF")
    if plain[:4] != MAGIC:
        raise InputError(f"a frame of version {plain[3:4].decode(errors='replace')}; this Sociogram reads version {VERSION}")
    (length,) = struct.unpack("<I", plain[4:8])
    header: Header = json.loads(plain[8 : 8 + length])
    start = 8 + length
    return header, {name: _array(plain, start, name, entry) for name, entry in header["arrays"].items()}


def _array(plain: bytes, start: int, name: str, entry: ArrayEntry) -> np.ndarray:
    dtype = np.dtype(_KINDS[entry["dtype"]]).newbyteorder("<")
    count = int(np.prod(entry["shape"]))
    if start + entry["offset"] + count * dtype.itemsize > len(plain):
        raise InputError(f"the frame is cut off: array {name!r} reaches beyond its end")
    return np.frombuffer(plain, dtype, count, start + entry["offset"]).reshape(entry["shape"])
