"""The frame: what goes in comes out, in the layout that docs/frame.md states, and nothing else is read."""

from __future__ import annotations

import gzip
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import sociogram as sg
from sociogram.studio.frame import decode, encode

ARRAYS = st.sampled_from([np.float32, np.float16, np.uint8, np.uint16, np.uint32]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), ARRAYS, max_size=4))
def test_what_goes_in_comes_out(arrays: dict[str, np.ndarray]) -> None:
    header, back = decode(encode({"format": "sociogram-frame", "version": 1}, arrays))
    assert header["format"] == "sociogram-frame"
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert header["arrays"][name]["offset"] % 8 == 0


def test_the_layout_is_as_stated() -> None:
    plain = gzip.decompress(encode({"version": 1, "word": "Zürich </script>"}, {"a": np.float32([1.5]), "b": np.uint16([1, 2])}))
    assert plain[:4] == b"SGF1"
    (length,) = struct.unpack("<I", plain[4:8])
    assert (8 + length) % 8 == 0
    header = json.loads(plain[8 : 8 + length])
    assert header["word"] == "Zürich </script>"
    assert header["arrays"] == {
        "a": {"dtype": "f4", "shape": [1], "offset": 0},
        "b": {"dtype": "u2", "shape": [2], "offset": 8},
    }
    assert plain[8 + length :] == struct.pack("<f4xHH4x", 1.5, 1, 2)


def test_the_same_frame_is_the_same_bytes() -> None:
    assert encode({"version": 1}, {}) == encode({"version": 1}, {})


def test_what_is_no_frame_is_refused() -> None:
    good = gzip.decompress(encode({"version": 1}, {"a": np.zeros(100, np.float32)}))
    with pytest.raises(sg.InputError, match="no frame of Sociogram"):
        decode(b"something else")
    with pytest.raises(sg.InputError, match="does not begin with SGF"):
        decode(gzip.compress(b"PNG" + good[3:]))
    with pytest.raises(sg.InputError, match="a frame of version 9; this Sociogram reads version 1"):
        decode(gzip.compress(b"SGF9" + good[4:]))
    with pytest.raises(sg.InputError, match="cut off: array 'a'"):
        decode(gzip.compress(good[:-8]))


def test_only_numbers_that_can_be_stated_go_in() -> None:
    with pytest.raises(sg.InputError, match="array 'a' is of type float64; a frame holds f4"):
        encode({}, {"a": np.zeros(1)})
    with pytest.raises(sg.InputError, match="a number that JSON does not have"):
        encode({"share": float("nan")}, {})
