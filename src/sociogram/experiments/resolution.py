"""How `she` comes to mean Alice, and `nail` the carpenter's: what a word takes over from the word it hangs on, layer by layer.

A pair is one sentence whose cue is said in two versions (Alice, Mary). The difference that this makes at the target (`she`), stop
by stop, is what was carried over; whether it points from one meaning to the other is asked of words said elsewhere. The same is
done with a distractor's versions, with another pair's meanings, and with the edges from cue (or distractor) to target cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import sociogram as sg
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.pairs import PAIRS, Pair
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.study import Study, Table
from sociogram.experiments.watching import steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "resolution"
LAYERS, PEAK, HEARD = "Layer by layer", "Where most is carried over", "Who is heard"

CANNOT_SHOW = (
    "A direction from one meaning to another, taken from words in one other sentence, is a coarse probe: a cosine of 0 says that "
    "this direction is not moved along, not that nothing is understood.",
    "What is carried over need not be used: no answer of the model is asked for here, only where its vectors go.",
    "Cutting the edges from the cue to the target leaves the ways round: words between them hear the cue too and are heard by "
    "the target. What is left after the cut came by those, and what is lost is what the direct edges alone could bring.",
    "The sentences are few, short, English and ours. Cues of unlike length move the words behind them by a place, which is a "
    "part of the difference; names and days are mostly of one token.",
)


@dataclass(frozen=True)
class Settings:
    """The model, another one beside it (none where empty), and how many pairs of each kind."""

    model: str = "smollm2-135m"
    beside: str = "minilm-l6"
    pairs: int = 24


FULL = Settings()
QUICK = Settings(beside="", pairs=2)

Found = dict[str, np.ndarray]
"""Numbers of one pair, each by stop or by layer."""


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """What targets take over from cues and from distractors at every layer, in which direction, by which messages.

    Nothing is drawn; the seed only deals out which other pair's meanings are the control.

    Raises:
        InputError: an unknown setting, a value that does not fit, fewer than two pairs.
        ModelNotFoundError: no such model.
    """
    return conduct(NAME, _work, choose(NAME, FULL, QUICK, quick, settings), CANNOT_SHOW, quick=quick, seed=seed)


def _work(chosen: Settings, seed: int) -> list[Table]:
    if chosen.pairs < 2:
        raise sg.InputError(f"{NAME}: pairs={chosen.pairs}: two or more of each kind, to compare one with another")
    moved, heard = [], []
    for name in filter(None, (chosen.model, chosen.beside)):
        model = sg.load(name)
        for kind in ("pronoun", "sense"):
            pairs = [pair for pair in PAIRS if pair.kind == kind][: chosen.pairs]
            found = asked(model, pairs, seed)
            moved.append(_by_layer(found).assign(model=name, kind=kind))
            heard.append(_heard(found).assign(model=name, kind=kind))
    layers, shares = (pd.concat(parts, ignore_index=True) for parts in (moved, heard))
    front = ["model", "kind", "layer"]
    layers, shares = (table[front + [n for n in table if n not in front]] for table in (layers, shares))
    return [
        Table(PEAK, peaks(layers), ("model", "kind", "change")),
        Table(
            LAYERS,
            layers,
            (*front, "change"),
            "carried: size of the change at the target over the size of its vector; toward: cosine with the way from one meaning "
            "to the other, error its standard error over pairs; pairs_toward: share of pairs above 0; another: the same with "
            "another pair's meanings",
        ),
        Table(HEARD, shares, tuple(front), "shares of the summed message norms to the target, means over pairs"),
    ]


def asked(model: sg.Model, pairs: Sequence[Pair], seed: int) -> list[Found]:
    """Everything about each pair; the pairs' meanings as ways first, since each pair is also compared with another's."""
    ways = [_way(model, pair) for pair in pairs]
    turn = 1 + seed % (len(pairs) - 1)
    found = []
    for number, pair in enumerate(steps(pairs, f"{model.name}, {pairs[0].kind}", len(pairs))):
        found.append(_one(model, pair, ways[number], ways[(number + turn) % len(pairs)]))
    return found


def _way(model: sg.Model, pair: Pair) -> np.ndarray:
    """[stop, d_model], from the second meaning's vector to the first's, each the last token of a sentence that names it."""
    frame = "This is about {}" if pair.kind == "pronoun" else "This is about the {}"
    last = _last(model)
    one, other = (_stream(sg.record(model, frame.format(word), keep=("residual",)))[:, last] for word in pair.meanings)
    difference: np.ndarray = one - other
    return difference


def _last(model: sg.Model) -> int:
    """The last token that is not one that the tokenizer adds at the end."""
    ids = model.encode("a")["input_ids"][0].tolist()
    special = set(getattr(model.tokenizer, "all_special_ids", ()))
    return -1 - sum(1 for token in ids[1:] if token in special)


def _stream(rec: sg.Recording) -> np.ndarray:
    stream: np.ndarray = rec.dataset["residual"].values.astype(np.float64)
    return stream


def _one(model: sg.Model, pair: Pair, way: np.ndarray, another: np.ndarray) -> Found:
    """One pair: what the versions of cue and distractor change at the target, plain and with edges cut, and who is heard."""
    plain = sg.record(model, pair.text(), keep=("residual", "weights", "value_norm"))
    target = places(model, pair, 0, 0)["target"][-1]
    here = _stream(plain)[:, target]
    changes = {"cue": _change(model, pair, here, 1, 0), "distractor": _change(model, pair, here, 0, 1)}
    changes["cue, its edges cut"] = _change(model, pair, None, 1, 0, cut="cue")
    changes["cue, the distractor's edges cut"] = _change(model, pair, None, 1, 0, cut="other")
    size = np.linalg.norm(here, axis=1)
    found = {f"carried {name}": np.linalg.norm(change, axis=1) / size for name, change in changes.items()}
    for name, change in changes.items():
        found[f"toward {name}"], found[f"another {name}"] = _cosine(change, way), _cosine(change, another)
    layer = plain.dataset["stop_layer"].values
    found["stops"] = np.array([np.flatnonzero(layer == number)[-1] for number in range(int(layer.max()) + 1)])
    return found | _told(plain, places(model, pair, 0, 0), target)


def _change(model: sg.Model, pair: Pair, here: np.ndarray | None, cue: int, other: int, cut: str | None = None) -> np.ndarray:
    """[stop, d_model], the target's vectors in the plain version minus those in another; both with edges cut where asked."""
    one = _at_target(model, pair, 0, 0, cut) if here is None else here
    return one - _at_target(model, pair, cue, other, cut)


def _at_target(model: sg.Model, pair: Pair, cue: int, other: int, cut: str | None) -> np.ndarray:
    where = places(model, pair, cue, other)
    target, text = where["target"][-1], pair.text(cue, other)
    if cut is None:
        return _stream(sg.record(model, text, keep=("residual",)))[:, target]
    with sg.steer(model, [sg.edits.cut(query=target, key=key) for key in where[cut]]) as steered:
        return _stream(steered.record(text, keep=("residual",)))[:, target]


def places(model: sg.Model, pair: Pair, cue: int, other: int) -> dict[str, list[int]]:
    """Which tokens are the cue's, the distractor's and the (last) target's.

    Raises:
        InputError: a model without a tokenizer that tells where its tokens stand in the text.
    """
    text, words = pair.text(cue, other), {"cue": pair.cues[cue], "other": pair.others[other], "target": pair.target}
    if model.tokenizer is None or not getattr(model.tokenizer, "is_fast", False):
        raise sg.InputError(f"{NAME}: {model.name} has no tokenizer that tells where its tokens stand: load it with a fast one")
    spans = model.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    found = {}
    for name, word in words.items():
        start = text.rfind(word)
        found[name] = [n for n, (low, high) in enumerate(spans) if low < start + len(word) and high > start and high > low]
    return found


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """By stop; NaN where one of them is zero."""
    sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    result: np.ndarray = (one * other).sum(1) / np.where(sizes > 0, sizes, np.nan)
    return result


def _told(rec: sg.Recording, where: dict[str, list[int]], target: int) -> Found:
    """By layer, the share of the summed message norms to the target that came from cue, distractor, itself, the first token."""
    data = rec.dataset
    sizes = (data["weights"].isel(query=target) * data["value_norm"]).sum("head").transpose("layer", "key").values
    total = sizes.sum(1)
    named = {"cue": where["cue"], "distractor": where["other"], "itself": [target], "first_token": [0]}
    return {f"told {name}": sizes[:, keys].sum(1) / total for name, keys in named.items()}


CHANGES = ("cue", "distractor", "cue, its edges cut", "cue, the distractor's edges cut")


def _by_layer(found: list[Found]) -> pd.DataFrame:
    """Means over pairs at each layer's last stop."""
    stops = found[0]["stops"]
    parts = []
    for name in CHANGES:
        kinds = ("carried", "toward", "another")
        carried, toward, another = (np.stack([one[f"{kind} {name}"][stops] for one in found]) for kind in kinds)
        columns = {
            "layer": np.arange(len(stops)),
            "change": name,
            "carried": carried.mean(0),
            "toward": toward.mean(0),
            "error": toward.std(0, ddof=1) / np.sqrt(len(found)),
            "pairs_toward": (toward > 0).mean(0),
            "another": another.mean(0),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _heard(found: list[Found]) -> pd.DataFrame:
    shares = {name: np.mean([one[f"told {name}"] for one in found], 0) for name in ("cue", "distractor", "itself", "first_token")}
    return pd.DataFrame({"layer": np.arange(len(shares["cue"])), **shares})


def peaks(layers: pd.DataFrame) -> pd.DataFrame:
    """The layer where the cue's change points most toward its meaning, and every change there."""
    rows = []
    for _, own in layers.groupby(["model", "kind"], sort=False):
        cue = own[own["change"] == "cue"]
        layer = int(cue["layer"].to_numpy()[cue["toward"].to_numpy().argmax()])
        rows.append(own[own["layer"] == layer])
    front = ["model", "kind", "change"]
    return pd.concat(rows, ignore_index=True)[front + [name for name in layers if name not in front]]


def draw(study: Study) -> Figure:
    """Toward the meaning, by layer, for every model and kind."""
    table = study[LAYERS]
    groups = list(table.groupby(["model", "kind"], sort=False))
    figure, axes = panels(2, (len(groups) + 1) // 2, size=(5.6, 3.6), title=study.question)
    for ax, ((model, kind), own) in zip(axes, groups, strict=False):
        for colour, name in zip(COLOURS, CHANGES, strict=False):
            line = own[own["change"] == name]
            ax.errorbar(line["layer"], line["toward"], line["error"], color=colour, label=name, linewidth=1.4)
        cue = own[own["change"] == "cue"]
        ax.plot(cue["layer"], cue["another"], ":", color=COLOURS[6], label="cue, another pair's meanings")
        ax.axhline(0, color=COLOURS[7], linewidth=0.8)
        label(ax, f"{model}, {kind}", "layer", "cosine with the way to the meaning", legend=False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure
