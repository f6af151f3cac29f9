"""Rows of attention scores read in one go while they lie in the processor's cache: softmax, numbers, strongest keys, column sums.

Machine code by numba, for float32 on a CPU; `rowwise` says the same in torch, for every device and dtype, and is its reference.
A row is met three times, each time from the cache: the largest of each block of its keys, from which the strongest keys are
taken one after the other (the block that holds the largest gives it up, and only that block is read again); the exponentials
with all sums; and the addition to the columns. Rows are filled up to whole blocks, so that vector instructions leave no rest.
Scores that are not to be read are `HIDDEN`: no infinities here, so that the compiler may assume that there are none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit as _njit
from numba import types
from numba.extending import intrinsic

HIDDEN = np.float32(-1e30)
"""The score of a key that may not be read."""
_LOWEST = np.float32(-1e29)
"""What lies below is hidden, whatever was added to it."""
_LOWEST_RANK = np.int32(_LOWEST.view(np.int32) ^ np.int32(0x7FFFFFFF))
_LOG2E = np.float32(1.4426950408889634)
_LN2 = np.float32(0.6931471805599453)
_SMALLEST = np.float32(-127.0)
"""Binary exponent from which on an exponential is exactly zero here."""
_ONE, _ZERO = np.float32(1), np.float32(0)
BLOCK = 64
"""Keys in a block: rows of scores, value norms and what is added to rank keys are as long as whole blocks need."""
_BLOCK = np.uintp(BLOCK)
_NONE = np.int32(-2147483648)
_FAST = {"nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc"}

LSE, ENTROPY, DISTANCE, HEARD, MESSAGES, ITSELF, FIRST, SINK, PART = range(9)
"""Where each number of a row stands in `numbers`: as in `streamed.NUMBERS`, then the factor of its exponentials."""


def _kept() -> bool:
    """Whether compiled code can be kept for the next process: numba raises where no folder for it can be written to."""
    try:
        _njit(cache=True)(_kept)
    except RuntimeError:
        return False
    return True


njit = partial(_njit, cache=_kept(), nogil=True)


@intrinsic
def _as_float(_: Any, bits: Any) -> Any:
    """32 bits read as a float32."""

    def make(__: Any, builder: Any, ___: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), make


@intrinsic
def _as_bits(_: Any, number: Any) -> Any:
    """A float32's 32 bits."""

    def make(__: Any, builder: Any, ___: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), make


@njit(inline="always")
def _ordered(bits):
    """Bits of a float32 as an integer that is ordered as the floats are; twice gives them back."""
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


@njit(inline="always")
def _rank(row, extra, place):
    """What a key is ranked by, as an integer: those compilers compare by vector instructions, ties and all."""
    return _ordered(_as_bits(row[place] + extra[place]))


@njit()
def _survey(row, extra, blocks, tops):
    """The largest score of a row, and into `tops` the largest rank of each of its blocks."""
    largest = _NONE
    for block in range(blocks):
        start, top = np.uintp(block) * _BLOCK, _NONE
        for i in range(_BLOCK):
            bits = _ordered(_as_bits(row[start + i]))
            largest = bits if bits > largest else largest
            rank = _rank(row, extra, start + i)
            top = rank if rank > top else top
        tops[block] = top
    return _as_float(_ordered(largest))


@njit()
def _largest(row, blocks):
    """The largest score of a row."""
    largest = _NONE
    for i in range(np.uintp(blocks) * _BLOCK):
        bits = _ordered(_as_bits(row[i]))
        largest = bits if bits > largest else largest
    return _as_float(_ordered(largest))


@njit(fastmath=_FAST, inline="always")
def _power(exponent):
    """2 to the power of an exponent up to 0, relative error 3e-7; exactly zero below 2^-126."""
    exponent = exponent if exponent > _SMALLEST else _SMALLEST
    whole = np.floor(exponent + np.float32(0.5))
    rest = exponent - whole
    power = np.float32(1.3399914e-3)
    power = power * rest + np.float32(9.6724658e-3)
    power = power * rest + np.float32(5.5503272e-2)
    power = power * rest + np.float32(2.4022235e-1)
    power = power * rest + np.float32(6.9314711e-1)
    power = power * rest + _ONE
    return power * _as_float((np.int32(whole) + np.int32(127)) << np.int32(23))


@njit(fastmath=_FAST)
def _exponentials(row, blocks, largest, sizes, places, place):
    """Scores become exponentials in place; their sum, and sums of them times exponent, distance from `place` and value norm."""
    total, weighted, far, told = _ZERO, _ZERO, _ZERO, _ZERO
    alive = np.int32(0)
    shift = largest * _LOG2E
    for i in range(np.uintp(blocks) * _BLOCK):
        exponent = row[i] * _LOG2E - shift
        power = _power(exponent)
        total += power
        weighted += power * (exponent if exponent > _SMALLEST else _SMALLEST)
        far += power * abs(places[i] - place)
        told += power * sizes[i]
        alive += np.int32(power > _ZERO)
        row[i] = power
    return total, weighted, far, told, alive


@njit(fastmath=_FAST)
def _add(sums, row, factor, start, low, high):
    """Add a stretch of a row, times a factor, to the sums of its keys, the row's first key being number `start`."""
    if low < high:
        offset = np.uintp(start)
        for i in range(np.uintp(low), np.uintp(high)):
            sums[offset + i] += factor * row[i]


@njit()
def _first_of(row, extra, start, rank, after):
    """Where in a block its first key of a rank behind `after` is (there is one)."""
    place = np.int32(BLOCK)
    for i in range(_BLOCK):
        here = (_rank(row, extra, start + i) == rank) & (np.int32(i) > after)
        number = np.int32(i) if here else np.int32(BLOCK)
        place = number if number < place else place
    return place


@njit()
def _largest_after(row, extra, start, rank, place):
    """The largest rank in a block that comes after the key at `place` of that rank: lower, or as high and of a later key."""
    top = _NONE
    for i in range(_BLOCK):
        here = _rank(row, extra, start + i)
        comes = (here < rank) | ((here == rank) & (np.int32(i) > place))
        here = here if comes else _NONE
        top = here if here > top else top
    return top


@njit()
def _strongest(row, extra, blocks, tops, taken, keys):
    """The strongest keys of a surveyed row by score + extra, strongest first, ties by number; -1 where there are fewer.

    `taken` is room for one number per block: the key of its largest rank that went last, if more of that rank are left.
    """
    taken[:] = np.int32(-1)
    for number in range(keys.shape[0]):
        best = _NONE
        for i in range(blocks):
            best = tops[i] if tops[i] > best else best
        if best < _LOWEST_RANK:
            keys[number:] = np.int32(-1)
            return
        block = np.uintp(0)
        while tops[block] != best:
            block += np.uintp(1)
        start = block * _BLOCK
        place = _first_of(row, extra, start, best, taken[block])
        keys[number] = np.int32(start) + place
        tops[block] = _largest_after(row, extra, start, best, place)
        taken[block] = place if tops[block] == best else np.int32(-1)


@njit(fastmath=_FAST)
def _columns(sums, row, factor, start, count, place, bands):
    """Add a row, whose first key is number `start`, to the column sums, each key into the band of its distance."""
    last = bands.shape[0] - 1
    for band in range(last + 1):
        far = bands[band + 1] if band < last else count + abs(place) + 1
        near = bands[band]
        _add(sums[band], row, factor, start, max(0, place - far + 1), min(count, place - near + 1))
        if place + 1 < count:
            _add(sums[band], row, factor, start, max(0, place + max(near, 1)), min(count, place + far))


@njit()
def _nothing_read(numbers, r):
    """The numbers of a row that may read nothing."""
    numbers[:, r] = _ZERO
    numbers[LSE, r] = -np.inf
    numbers[ENTROPY, r] = np.nan
    numbers[DISTANCE, r] = np.nan


@njit(error_model="numpy")
def read_rows(
    scores, counts, real, head, query, key, place, first, apart, sizes, extra, sinks, bands, sums,
    keys, attention, messages, numbers, edges,
):  # fmt: skip
    """Read some rows. Scores `[head, row, key]` become exponentials, to be multiplied by `numbers[:, PART]`.

    They are of some heads (from `head` on), some readers (from `query` on) and some keys (from `key` on) of one sequence; all
    other arrays are those of the whole sequence, `sizes` and `extra` with a `BLOCK` of any finite numbers more. Floating-point
    arrays are float32.

    Args:
        scores: scaled and masked; `HIDDEN` where a key may not be read. As long as whole blocks, whatever lies behind the keys.
        counts: `[row]` int64, how many of these keys a row may read at most; what lies behind is set to zero.
        real: `[query]` bool, whether a reader is a token (and not padding), else it adds nothing to sums over readers.
        place: the key that is the first row's own token, the next row's is one more; without meaning unless `apart`.
        first: the key that is the first token.
        apart: whether readers and keys are of one sequence, so that there are distances.
        sizes: `[head, key]`, value norms. extra: `[head, key]`, added to the scores to rank keys.
        sinks: `[head, query]`, a score that takes part in the softmax and tells nothing; `HIDDEN` where there is none.
        bands: int64, smallest distance of each band, from 0. sums: `[head, band, key]`, added to; without a band: left alone.
        keys, attention, messages: `[head, query, rank]`, the strongest keys (int32), their weights, and those times value norms.
        numbers: `[head, NUMBERS, query]`.
        edges: `[head, 3]` int64, added to: how many weights above zero, between tokens, from the first, to itself.
    """
    width, top = scores.shape[2], keys.shape[2]
    places = np.arange(key, key + width).astype(np.float32)
    tops, taken = np.empty(width // BLOCK, np.int32), np.empty(width // BLOCK, np.int32)
    for h in range(scores.shape[0]):
        size, more = sizes[head + h, key:], extra[head + h, key:]
        for r in range(scores.shape[1]):
            q = query + r
            row, count, own = scores[h, r], counts[r], place + r - key
            chosen, number = keys[head + h, q], numbers[head + h]
            sink = sinks[head + h, q]
            blocks = (count + BLOCK - 1) // BLOCK
            row[count : blocks * BLOCK] = HIDDEN
            largest = max(_survey(row, more, blocks, tops) if top else _largest(row, blocks), sink)
            _strongest(row, more, blocks, tops, taken, chosen)
            if largest < _LOWEST:
                row[:] = _ZERO
                _nothing_read(number, q)
                continue
            heard, weighted, far, told, alive = _exponentials(row, blocks, largest, size, places, np.float32(place + r))
            row[blocks * BLOCK :] = _ZERO
            bits = (sink - largest) * _LOG2E
            lost = _power(bits)
            total = heard + lost
            part = _ONE / total
            spread = weighted + (lost * bits if lost > _ZERO else _ZERO)
            itself = row[own] if apart and 0 <= own < count else _ZERO
            start = row[first - key] if 0 <= first - key < count else _ZERO
            number[LSE, q] = largest + np.log(total)
            number[ENTROPY, q] = max(np.log(total) - spread * part * _LN2, _ZERO)
            number[DISTANCE, q] = far / heard if apart and heard > _ZERO else np.float32(np.nan)
            number[HEARD, q] = heard * part
            number[MESSAGES, q] = told * part
            number[ITSELF, q] = itself * part
            number[FIRST, q] = start * part
            number[SINK, q] = lost * part
            number[PART, q] = part
            for i in range(top):
                if chosen[i] >= 0:
                    attention[head + h, q, i] = row[chosen[i]] * part
                    messages[head + h, q, i] = row[chosen[i]] * part * size[chosen[i]]
                    chosen[i] += np.int32(key)
            if real[q]:
                to_itself = np.int64(itself > _ZERO)
                from_first = np.int64(start > _ZERO and not (apart and own + key == first))
                edges[head + h, 2] += to_itself
                edges[head + h, 1] += from_first
                edges[head + h, 0] += alive - to_itself - from_first
                if sums.shape[1]:
                    _columns(sums[head + h], row, part, key, count, own, bands)
