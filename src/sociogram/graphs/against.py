"""One statistic of all graphs of a recording against one null model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from sociogram.core.errors import InputError, RecordingError
from sociogram.graphs.measures import MEASURES
from sociogram.graphs.nulls import NULLS, sampler
from sociogram.graphs.source import Batch, Source
from sociogram.graphs.testing import NullTest, Statistic, judged, sampled
from sociogram.watch.progress import bar

if TYPE_CHECKING:
    from sociogram.graphs.networks import Networks
    from sociogram.watch.recording import Recording

UNTRAINED = "untrained"


def against(
    networks: Networks,
    statistic: str | Statistic,
    *,
    null: str | Sequence[Recording] = "positional",
    samples: int = 200,
    seed: int = 0,
    rank: int | None = None,
) -> NullTest:
    """Compare a statistic of every graph with the same statistic of random graphs that keep what the null says.

    Args:
        networks: the graphs.
        statistic: a name of `graphs.measures.MEASURES`, or a function of `weights` and `allowed`, `[..., query, key]`, to numbers
            `[...]`.
        null: `"uniform"`, `"positional"`, `"degrees"`, `"sbm"`, `"rdpg"`, `"rows"`, `"weights"`, `"erdos-renyi"`: see
            `graphs.nulls`, each respects the mask; `"untrained"`: models of the same configuration with random weights, one for
            each sample, on the same tokens; or recordings of the same tokens, one for each sample (`samples` is then their number).
        samples: how many random graphs stand beside each graph. p-values are never below 1 / (samples + 1).
        seed: of the random numbers; the same seed gives the same numbers.
        rank: of the latent positions of `"rdpg"`; the second elbow of each graph's singular values when left out.

    Returns:
        The test: a table with `z`, its interval and p-values, and a plot.

    Raises:
        InputError: an unknown statistic or null, or a number of samples below 1.
        RecordingError: `"untrained"` without the model at hand, or the weights were not kept.

    Misleads: a small p says that the null is wrong, not why; nulls keep different things, so say which. Nulls with a fitted
    expectation are fitted to the very graph that they judge, which makes them a little too much like it (conservative).
    """
    name, measure = _measure(statistic)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise InputError(f"samples={samples!r}: a whole number from 1 up")
    if not isinstance(null, str):
        values, numbers = _values(networks.source, measure), _of_recordings(networks, list(null), measure)
        called, keeps = "recordings", "the tokens"
    elif null == UNTRAINED:
        values = _values(networks.source, measure)
        numbers = _of_untrained(networks, measure, samples, seed)
        called, keeps = null, "mask, tokens, the model's shape"
    else:
        if null not in NULLS:
            raise InputError(f'null={null!r}: choose one of {", ".join(NULLS)} or "{UNTRAINED}"')
        values, numbers = _of_samples(networks, null, measure, samples, seed, rank)
        called, keeps = null, NULLS[null].keeps
    table, maxima = judged(networks.labels, values, numbers)
    return NullTest(table, name, called, keeps, numbers.shape[1], maxima)


def _measure(statistic: str | Statistic) -> tuple[str, Statistic]:
    if not isinstance(statistic, str):
        return getattr(statistic, "__name__", "statistic"), statistic
    if statistic not in MEASURES:
        raise InputError(f"statistic={statistic!r}: choose one of {', '.join(MEASURES)}, or give a function")
    return statistic, MEASURES[statistic]


def _values(source: Source, measure: Statistic) -> np.ndarray:
    return np.concatenate([measure(batch.weights, batch.allowed) for batch in source.batches()])


def _of_samples(
    networks: Networks, null: str, measure: Statistic, samples: int, seed: int, rank: int | None
) -> tuple[np.ndarray, np.ndarray]:
    count = len(networks)
    streams = np.random.SeedSequence(seed).spawn(count)
    values, numbers = [], []
    with bar(f"{null} null", count, count) as advance:
        for batch in networks.source.batches():
            values.append(measure(batch.weights, batch.allowed))
            for i in range(len(batch.weights)):
                rng = np.random.default_rng(streams[batch.first + i])
                numbers.append(_of_graph(batch, i, null, measure, samples, rng, rank))
                advance(1)
    return np.concatenate(values), np.stack(numbers)


def _of_graph(
    batch: Batch, index: int, null: str, measure: Statistic, samples: int, rng: np.random.Generator, rank: int | None
) -> np.ndarray:
    weights, allowed = batch.weights[index], batch.allowed[index]
    blocks = None
    if null == "sbm":
        from sociogram.graphs.communities import blocks_of

        blocks = blocks_of(weights, seed=int(rng.integers(2**31)))
    if null == "rdpg" and rank is None:
        rank = _rank(weights)
    return sampled(sampler(null, weights, allowed, blocks=blocks, rank=rank), measure, allowed, samples, rng)


def _rank(weights: np.ndarray) -> int:
    from sociogram.graphs.spectrum import elbows

    found = elbows(np.linalg.svd(weights, compute_uv=False))
    return found[min(1, len(found) - 1)] if found else 1


def _of_recordings(networks: Networks, others: list[Recording], measure: Statistic) -> np.ndarray:
    if not others:
        raise InputError("null=[]: give recordings of the same tokens, one for each sample")
    return np.stack([_values(_like(networks.source, other), measure) for other in others], 1)


def _like(source: Source, rec: Recording) -> Source:
    """The same question put to another recording."""
    other = Source(rec, source.weight, source.by, source.stack, source.drop_first, source.threshold, source.toward)
    if len(other.labels) != len(source.labels) or other.tokens != source.tokens:
        raise InputError(
            f"null=: a recording has {len(other.labels)} graphs of {len(other.tokens)} tokens, and these networks are "
            f"{len(source.labels)} of {len(source.tokens)}; record the same text with a model of the same shape"
        )
    return other


def _of_untrained(networks: Networks, measure: Statistic, samples: int, seed: int) -> np.ndarray:
    rec = networks.source.rec
    if rec.model is None:
        raise RecordingError('null="untrained" needs the model: open the recording with sg.open_recording(path, model=...)')
    numbers = []
    with bar("untrained models", samples, samples) as advance:
        for number in range(samples):
            numbers.append(_values(_like(networks.source, untrained(rec, seed + number)), measure))
            advance(1)
    return np.stack(numbers, 1)


def untrained(rec: Recording, seed: int) -> Recording:
    """What a model of the same configuration with random weights does with the same tokens."""
    from sociogram.models.loading import load
    from sociogram.watch.record import record

    model = rec.model
    assert model is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hf = type(model.hf)(copy.deepcopy(model.hf.config)).eval()
    return record(load(hf, tokenizer=model.tokenizer), dict(rec.inputs))
