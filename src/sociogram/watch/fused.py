"""Rows of attention scores read in one go while they lie in the processor's cache: softmax, numbers, strongest keys, column sums.

Machine code by numba, for float32 on a CPU; `rowwise` says the same in torch, for every device and dtype, and is its reference.
A row is met four times, each time from the cache: its maximum; its strongest keys (a key is looked at closer only if it beats the
weakest of those found so far, and the search starts from the strongest keys of the query before, which are usually close); the
exponentials with all sums; and the addition to the columns. Scores that are not to be read are `HIDDEN`: no infinities here, so
that the compiler may assume that there are none.
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
_LOG2E = np.float32(1.4426950408889634)
_LN2 = np.float32(0.6931471805599453)
_SMALLEST = np.float32(-127.0)
"""Binary exponent from which on an exponential is exactly zero here."""
_ONE, _ZERO = np.float32(1), np.float32(0)
_LANES = np.uintp(32)
_BIT = np.uint32(1) << np.arange(32, dtype=np.uint32)
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


@intrinsic
def _lowest_bit(_: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set (some is)."""

    def make(__: Any, builder: Any, ___: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint32(types.uint32), make


@njit(inline="always")
def _ordered(bits):
    """Bits of a float32 as an integer that is ordered as the floats are; twice gives them back."""
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


@njit()
def _largest(row, count):
    """The largest of the first `count` numbers; by integers, whose maximum compilers turn into vector instructions."""
    best = np.int32(-2147483648)
    for i in range(count):
        bits = _ordered(_as_bits(row[i]))
        best = bits if bits > best else best
    return _as_float(_ordered(best))


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
def _exponentials(row, count, largest, sizes, places, place):
    """Scores become exponentials in place; their sum, and sums of them times exponent, distance from `place` and value norm."""
    total, weighted, far, told = _ZERO, _ZERO, _ZERO, _ZERO
    alive = np.int32(0)
    shift = largest * _LOG2E
    for i in range(count):
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
def _add(column, row, factor, start, stop):
    """Add a stretch of a row, times a factor, to the same stretch of a column sum."""
    if start < stop:
        target, source = column[start:stop], row[start:stop]
        for i in range(target.shape[0]):
            target[i] += factor * source[i]


@njit()
def _beating(row, extra, start, least):
    """Of 32 keys from `start` on, a bit for each whose score is at least `least`."""
    found = np.uint32(0)
    for i in range(_LANES):
        found |= _BIT[i] if row[start + i] + extra[start + i] >= least else np.uint32(0)
    return found


@njit()
def _insert(best, keys, have, score, key):
    """Put a key where it belongs among the `have` strongest (the last drops out if there is no room); ties: lower key first."""
    place = np.uintp(min(have, best.shape[0] - 1))
    one = np.uintp(1)
    while place > np.uintp(0) and (best[place - one] < score or (best[place - one] == score and keys[place - one] > key)):
        best[place], keys[place] = best[place - one], keys[place - one]
        place -= one
    best[place], keys[place] = score, key


@njit()
def _offer(best, keys, have, score, key):
    """Take a key in if it belongs to the strongest and is not there yet; how many there are then."""
    top = best.shape[0]
    if score < _LOWEST:
        return have
    if have == top:
        last = np.uintp(top - 1)
        if score < best[last] or (score == best[last] and key > keys[last]):
            return have
    for i in range(have):
        if keys[i] == key:
            return have
    _insert(best, keys, have, score, key)
    return min(have + 1, top)


@njit()
def _strongest(row, extra, count, best, keys, before, shift):
    """The strongest keys of a row by score + extra, strongest first; -1 where there are fewer.

    `before`: where to look first, the strongest keys of the row before, by numbers that are `shift` larger.
    """
    have, top = 0, best.shape[0]
    for i in range(before.shape[0]):
        guess = before[i] - shift
        if guess >= 0:
            have = _offer(best, keys, have, row[np.uintp(guess)] + extra[np.uintp(guess)], guess)
    start = np.uintp(count) // _LANES * _LANES
    for last in range(start, np.uintp(count)):
        have = _offer(best, keys, have, row[last] + extra[last], np.int32(last))
    while start > np.uintp(0):  # from the last keys to the first: what is near is usually stronger
        start -= _LANES
        least = best[np.uintp(top - 1)] if have == top else _LOWEST
        found = _beating(row, extra, start, least)
        while found:
            key = start + np.uintp(_lowest_bit(found))
            found &= found - np.uint32(1)
            have = _offer(best, keys, have, row[key] + extra[key], np.int32(key))
    for i in range(have, top):
        best[i], keys[i] = HIDDEN, np.int32(-1)


@njit()
def _columns(sums, row, factor, start, count, place, bands):
    """Add a row, whose first key is number `start`, to the column sums, each key into the band of its distance."""
    last = bands.shape[0] - 1
    for band in range(last + 1):
        far = bands[band + 1] if band < last else count + abs(place) + 1
        near = bands[band]
        _add(sums[band, start:], row, factor, max(0, place - far + 1), min(count, place - near + 1))
        _add(sums[band, start:], row, factor, max(0, place + max(near, 1)), min(count, place + far))


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
    """Read a block of rows. Scores `[head, row, key]` become exponentials, to be multiplied by `numbers[:, PART]`.

    The block holds some heads (from `head` on), some readers (from `query` on) and some keys (from `key` on) of one sequence; all
    other arrays are those of the whole sequence. Floating-point arrays are float32.

    Args:
        scores: scaled and masked; `HIDDEN` where a key may not be read.
        counts: `[row]` int64, how many of the block's first keys a row may read at most; what lies behind is set to zero.
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
    count_all, top = scores.shape[2], keys.shape[2]
    places = np.arange(key, key + count_all).astype(np.float32)
    best = np.empty(top, np.float32)
    for h in range(scores.shape[0]):
        size, more = sizes[head + h, key:], extra[head + h, key:]
        for r in range(scores.shape[1]):
            q = query + r
            row, count, own = scores[h, r], counts[r], place + r - key
            chosen, number = keys[head + h, q], numbers[head + h]
            sink = sinks[head + h, q]
            largest = max(_largest(row, count), sink)
            if top:
                _strongest(row, more, count, best, chosen, keys[head + h, max(q - 1, 0), : top * min(r, 1)], np.int32(key))
            if largest < _LOWEST:
                row[:] = _ZERO
                _nothing_read(number, q)
                continue
            heard, weighted, far, told, alive = _exponentials(row, count, largest, size, places, np.float32(place + r))
            row[count:] = _ZERO
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
