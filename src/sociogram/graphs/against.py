"""Statistics of all graphs of a recording against one null model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from sociogram.core.errors import InputError, RecordingError
from sociogram.graphs.asked import check_count
from sociogram.graphs.measures import MEASURES
from sociogram.graphs.nulls import NULLS
from sociogram.graphs.source import Batch, Source
from sociogram.graphs.testing import NullTest, Statistic, judged, sampled
from sociogram.watch.progress import bar

if TYPE_CHECKING:
    from sociogram.graphs.networks import Networks
    from sociogram.watch.recording import Recording

UNTRAINED = "untrained"


def against(
    networks: Networks,
    statistics: Mapping[str, Statistic],
    *,
    null: str | Sequence[Recording] = "positional",
    samples: int = 200,
    seed: int = 0,
    rank: int | None = None,
) -> dict[str, NullTest]:
    """Compare statistics of every graph with those of random graphs that keep what the null says, the same for all of them.

    Args:
        networks: the graphs.
        statistics: functions of `weights` and `allowed`, `[..., query, key]`, to numbers `[...]`, by name; see `chosen`.
        null: `"uniform"`, `"positional"`, `"degrees"`, `"sbm"`, `"rdpg"`, `"rows"`, `"weights"`, `"erdos-renyi"`: see
            `graphs.nulls`, each respects the mask; `"untrained"`: models of the same configuration with random weights, one for
            each sample, on the same tokens; or recordings of the same tokens, one for each sample (and as many).
        samples: how many random graphs stand beside each graph. p-values are never below 1 / (samples + 1).
        seed: of the random numbers; the same seed gives the same numbers.
        rank: of the latent positions of `"rdpg"`; the second elbow among each graph's first singular values when left out.

    Returns:
        For each statistic a test: a table with `z`, its interval and p-values (NaN where the null fixes it), and a plot.

    Raises:
        InputError: an unknown null, a number of samples below 1, or recordings that do not fit.
        RecordingError: `"untrained"` without the model at hand, or the weights were not kept.

    Misleads: a small p says that the null is wrong, not why; nulls keep different things, so say which. Nulls with a fitted
    expectation are fitted to the very graph that they judge, which makes them a little too much like it (conservative).
    `p_corrected` is over the graphs of one statistic, not over statistics.
    """
    check_count("samples", samples)
    measures = list(statistics.values())
    if not isinstance(null, str):
        values, numbers = _values(networks.source, measures), _of_recordings(networks, list(null), measures)
        called, keeps = "recordings", "the tokens"
    elif null == UNTRAINED:
        values, numbers = _values(networks.source, measures), _of_untrained(networks, measures, samples, seed)
        called, keeps = null, "mask, tokens, the model's shape"
    else:
        if null not in NULLS:
            raise InputError(f'null={null!r}: choose one of {", ".join(NULLS)} or "{UNTRAINED}"')
        values, numbers = _of_samples(networks, null, measures, samples, seed, rank)
        called, keeps = null, NULLS[null].keeps
    found = {}
    for name, own, others in zip(statistics, values, numbers, strict=True):
        if called in NULLS and name in NULLS[called].fixes:
            others = np.broadcast_to(own[:, None], others.shape)
        table, maxima = judged(networks.labels, own, others)
        found[name] = NullTest(table, name, called, keeps, others.shape[1], maxima)
    return found


def chosen(statistic: str | Statistic) -> tuple[str, Statistic]:
    """A statistic and its name.

    Raises:
        InputError: no statistic of that name.
    """
    if not isinstance(statistic, str):
        return getattr(statistic, "__name__", "statistic"), statistic
    if statistic not in MEASURES:
        raise InputError(f"statistic={statistic!r}: choose one of {', '.join(MEASURES)}, or give a function")
    return statistic, MEASURES[statistic]


def _values(source: Source, measures: list[Statistic]) -> Float[np.ndarray, "measure graph"]:
    parts = [np.stack([measure(batch.weights, batch.allowed) for measure in measures]) for batch in source.batches()]
    return np.concatenate(parts, 1)


def _of_samples(
    networks: Networks, null: str, measures: list[Statistic], samples: int, seed: int, rank: int | None
) -> tuple[np.ndarray, np.ndarray]:
    count = len(networks)
    streams = np.random.SeedSequence(seed).spawn(count)
    values, numbers = [], []
    with bar(f"{null} null", count, count) as advance:
        for batch in networks.source.batches():
            values.append(np.stack([measure(batch.weights, batch.allowed) for measure in measures]))
            for i in range(len(batch.weights)):
                rng = np.random.default_rng(streams[batch.first + i])
                numbers.append(_of_graph(batch, i, null, measures, samples, rng, rank))
                advance(1)
    return np.concatenate(values, 1), np.stack(numbers, 1)


def _of_graph(
    batch: Batch, index: int, null: str, measures: list[Statistic], samples: int, rng: np.random.Generator, rank: int | None
) -> Float[np.ndarray, "measure sample"]:
    from sociogram.graphs.spectrum import fitted

    weights, allowed = batch.weights[index], batch.allowed[index]
    return sampled(fitted(null, weights, allowed, rng, rank), measures, allowed, samples, rng)


def _of_recordings(
    networks: Networks, others: list[Recording], measures: list[Statistic]
) -> Float[np.ndarray, "measure graph sample"]:
    if not others:
        raise InputError("null=[]: give recordings of the same tokens, one for each sample")
    return np.stack([_values(_like(networks.source, other), measures) for other in others], 2)


def _like(source: Source, rec: Recording) -> Source:
    """The same question put to another recording."""
    other = Source(rec, source.weight, source.by, source.stack, source.drop_first, source.threshold, source.toward)
    if len(other.labels) != len(source.labels) or other.tokens != source.tokens:
        raise InputError(
            f"null=: a recording has {len(other.labels)} graphs of {len(other.tokens)} tokens, and these networks are "
            f"{len(source.labels)} of {len(source.tokens)}; record the same text with a model of the same shape"
        )
    return other


def _of_untrained(
    networks: Networks, measures: list[Statistic], samples: int, seed: int
) -> Float[np.ndarray, "measure graph sample"]:
    rec = networks.source.rec
    if rec.model is None:
        raise RecordingError('null="untrained" needs the model: open the recording with sg.open_recording(path, model=...)')
    numbers = []
    with bar("untrained models", samples, samples) as advance:
        for number in range(samples):
            numbers.append(_values(_like(networks.source, untrained(rec, seed + number)), measures))
            advance(1)
    return np.stack(numbers, 2)


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
