"""What came out of the studies of ways of talking and of objectives, `communication` and `objective`; `findings` names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.findings_society import span
from sociogram.experiments import Study
from sociogram.experiments import communication as talk
from sociogram.experiments import objective as aims

if TYPE_CHECKING:
    import pandas as pd


def communication(study: Study) -> list[str]:
    """What each way of talking can do, where it breaks, and what bounds it."""
    return [_recall(study), _windows(study), _copies(study), _senses(study), _by_bytes(study), _longer(study), _bounded(study)]


def _recall(study: Study) -> str:
    """Recall at equal parameters, beside a guess among the values told."""
    table, steps, count = study[talk.LENGTHS], study.settings["steps"], study[talk.COSTS].set_index(["task", "kind"])
    table = table[(table["task"] == "recall") & ~table["kind"].isin(["isolated", "neighbourhood"])]
    breaks = study[talk.BREAKS].query("task == 'recall'").set_index("kind")["breaks"]
    first = [kind for kind in table["kind"].unique() if breaks[kind] == table["length"].min()]
    failed, own = table[table["kind"].isin(first)], table.set_index(["kind", "length"])
    guessed = int((failed["accuracy"] <= failed["chance"]).sum())
    short, long = table["length"].min(), table["length"].max()
    flock, sums = (own.loc[kind] for kind in ("flock", "linear attention"))
    return (
        f"Recall with {count.loc[('recall', 'flock'), 'parameters']:,} parameters and up to {steps} steps: the flock is right at "
        f"{span(flock['accuracy'], 3)} of the questions at all lengths from {short} to {long} tokens; linear attention goes from "
        f"{sums.loc[short, 'accuracy']:.2f} to {sums.loc[long, 'accuracy']:.2f}; {_listed(first)} stay below "
        f"{study.settings['good']} even at {short}, and in {guessed} of {len(failed)} cases (kinds and lengths) they are no "
        "better than a guess among the values told."
    )


def _windows(study: Study) -> str:
    """That a window breaks where its reach ends, and what its ceiling counts."""
    table = study[talk.LENGTHS]
    near = table[(table["kind"] == "neighbourhood") & (table["ceiling"] < 1)].sort_values(["task", "length"])
    whole = table[(table["kind"] == "neighbourhood") & (table["ceiling"] == 1)]
    said = [
        f"{task} {', '.join(f'{row.accuracy:.3f} of {row.ceiling:.3f} at {row.length}' for row in own.itertuples())}"
        for task, own in near.groupby("task", sort=False)
    ]
    return (
        f"A window breaks where its reach ends. Where all answers are in it, it is right at {span(whole['accuracy'], 2)}; "
        f"beyond, with the ceiling for those who know what they hear: {'; '.join(said)} tokens. In recall that ceiling knows "
        "that a value heard without its key can be guessed."
    )


def _copies(study: Study) -> str:
    """Copying, which everybody learns for the shortest text but for the isolated."""
    table = study[talk.LENGTHS].query("task == 'copy' and kind not in ('isolated', 'neighbourhood')")
    by = table.pivot_table(index="kind", columns="length", values="accuracy", sort=False)
    short, second, long = by.columns[0], by.columns[1], by.columns[-1]
    recalled = _at(study, "recall", "flock", long)
    cells, flock = by.loc[["rnn", "lstm", "xlstm"]], table[(table["kind"] == "flock") & (table["length"] == long)].iloc[0]
    against = f": less than in recall of as long a sequence ({recalled:.2f}), against expectation"
    against = against if flock["accuracy"] < recalled else ""
    return (
        f"Copying {short // 2} tokens is learned by most ({span(by[short], 2)}), but with {second // 2} the recurrent cells are "
        f"at {span(cells[second], 2)}, and with {long // 2} all but the flock at {by[long].drop('flock').max():.2f} or less. "
        f"The flock has {flock['accuracy']:.2f} there, from {flock['low']:.2f} to {flock['high']:.2f} by seed{against}."
    )


def _senses(study: Study) -> str:
    """Senses, where one word is to be remembered and length matters little."""
    table = study[talk.LENGTHS].query("task == 'sense' and kind not in ('isolated', 'neighbourhood')")
    by = table.pivot_table(index="kind", columns="length", values="accuracy", sort=False)
    order = by.mean(axis=1).sort_values(ascending=False)
    good = [kind for kind in order.index if by.loc[kind].min() >= study.settings["good"]]
    apart = (by.max(axis=1) - by.min(axis=1)).max()
    others = ", ".join(f"{kind} {order[kind]:.2f}" for kind in order.index if kind not in good)
    return (
        f"In word senses, where one word tells, length matters little (by at most {apart:.2f} up to "
        f"{by.columns[-1]} tokens, but for windows): {_listed(good)} come to {span(order[good], 2)}, the others on average to "
        f"less ({others}), where a guess between two senses has {table['chance'].iloc[0]:.2f}. Their learning rates "
        "are those of recall."
    )


def _by_bytes(study: Study) -> str:
    """Recall where states are equal and parameters are not."""
    table, costs = study[talk.BYTES], study[talk.COSTS].set_index(["task", "kind"])["state_bytes"]["recall"]
    length, said = sorted(study.settings["lengths"])[:3][-1], []
    for budget, own in table.groupby("budget"):
        ranked = own.sort_values("accuracy", ascending=False)
        each = ", ".join(f"{row.kind} {row.accuracy:.2f} ({row.low:.2f} to {row.high:.2f})" for row in ranked.itertuples())
        said.append(f"with {budget:,} bytes {each}")
    flock, wide = table[table["kind"] == "flock"], table[table["parameters"] == table["parameters"].max()].iloc[0]
    chance = study[talk.LENGTHS].query("task == 'recall'").set_index("length")["chance"].loc[length].iloc[0]
    return (
        f"At equal state, in recall of {length} tokens: {'; '.join(said)}. The flock, which at equal parameters keeps up to "
        f"{costs['flock']:,.0f} bytes, is then {' and '.join(map(str, flock['width']))} wide, and in these steps stands at "
        f"{span(flock['accuracy'], 3)}, where a guess among the values told has {chance:.3f}. Parameters go up to "
        f"{wide['parameters']:,}; who would need more than {study.settings['largest']:,} was left out."
    )


def _longer(study: Study) -> str:
    """What more steps change, for those who had failed."""
    table, good = study[talk.LONGER], study.settings["good"]
    shortest, longest = table["length"].min(), table["length"].max()
    short, long = (table[table["length"] == length].set_index("kind") for length in (shortest, longest))
    failed = short[short["accuracy"] < good]
    there = [kind for kind in failed.index if failed.loc[kind, "with_more"] >= good]
    still = [kind for kind in failed.index if kind not in there]
    said = ", ".join(f"{kind} from {short.loc[kind, 'accuracy']:.2f} to {short.loc[kind, 'with_more']:.2f}" for kind in there)
    left = ", ".join(f"{kind} {value:.2f}" for kind, value in long["with_more"].drop(still).items())
    return (
        f"With {study.settings['longer']} times the steps (one seed) {int((table['with_more'] > table['accuracy']).sum())} of "
        f"{len(table)} accuracies of recall are higher: at {shortest} tokens {said}, so that to break there was a matter of "
        f"training. At {longest} tokens they are far from right all the same ({left}), and {_listed(still)} stay at "
        f"{span(short.loc[still, 'with_more'], 2)} even at {shortest}."
    )


def _bounded(study: Study) -> str:
    """The bound on copying: not exceeded, and mostly far away."""
    bound, narrow = study[talk.BOUND], study[talk.NARROW]
    held, tight = bound[bound["state_bits"] > 0], narrow[narrow["ceiling"] < 1]
    over = bound[bound["accuracy"] > bound["ceiling"]]
    above = [*over["kind"], *narrow[narrow["accuracy"] > narrow["ceiling"]]["kind"]]
    but = f" but for the isolated, who guess ({(over['accuracy'] - over['ceiling']).max():.3f} over by chance)"
    need = [
        f"the {kind} needs {int(own['bits'].min())} bits in each of "
        f"{int(own['numbers'].max()) * (2 if kind == 'lstm' else 1)} numbers"
        for kind, own in narrow[narrow["accuracy"] >= study.settings["good"]].groupby("kind", sort=False)
    ]
    return (
        f"Of {len(bound) + len(narrow)} accuracies of copying (the best seeds') none is above what the bits of the state allow"
        f"{but if set(above) == {'isolated'} else f'; above: {len(above)}' if above else ''}. Whole states have at least "
        f"{(held['state_bits'] / held['text_bits']).min():.0f} times the bits of the text, so that this bound is not what cells "
        "break at; narrowed so far that it is below 1, they come to "
        f"{(tight['accuracy'] / tight['ceiling']).max():.2f} of it at most, and to stay above {study.settings['good']} on a text "
        f"of {bound['text_bits'].min():.0f} bits {_listed(need)} (of those tried)."
    )


def _at(study: Study, task: str, kind: str, length: int) -> float:
    return float(study[talk.LENGTHS].set_index(["task", "kind", "length"]).sort_index().loc[(task, kind, length), "accuracy"])


def objective(study: Study) -> list[str]:
    """Cross-entropy against distances; what becomes of embeddings that move to the prediction."""
    return [_held(study), _frozen(study), _collapse(study), _trap(study), _rates(study), _read(study)]


def _by_targets(study: Study, targets: str) -> pd.DataFrame:
    """The distances under one kind of targets."""
    table = study[aims.SCORED]
    return table[(table["targets"] == targets) & (table["objective"] != "cross-entropy")].set_index("objective")


def _control(study: Study, name: str, column: str = "accuracy") -> float:
    table = study[aims.SCORED].set_index(["objective", "targets"])
    return float(table.loc[(name, "control"), column])


def _plain(study: Study, targets: str = "moving") -> pd.Series:
    return study[aims.SCORED].set_index(["objective", "targets"]).loc[("cross-entropy", targets)]


def _held(study: Study) -> str:
    """The accuracies with targets held, beside cross-entropy and frequencies."""
    held, best, pairs = _by_targets(study, "held"), _plain(study), _control(study, "frequencies of pairs")
    held = held.sort_values("accuracy", ascending=False)
    each = ", ".join(f"{row.Index} {row.accuracy:.2f} ({row.low:.2f} to {row.high:.2f})" for row in held.itertuples())
    above = [name for name in held.index if held.loc[name, "low"] > pairs]
    letters = _control(study, "frequencies of letters")
    untrained = study[aims.SCORED].query("targets == 'untrained'")["accuracy"].max()
    return (
        f"Cross-entropy foretells {best['accuracy']:.2f} of the letters of held-out text ({best['low']:.2f} to "
        f"{best['high']:.2f} by seed); distances to targets that are held {each}. Who knows how "
        f"often one letter follows another has {pairs:.2f}, who knows how often each occurs {letters:.2f}, "
        f"the untrained {untrained:.2f} at most: "
        f"in {int((held['high'] < best['low']).sum())} of {len(held)} distances all seeds are below those of cross-entropy, and "
        f"{_listed(above) or 'none'} alone {'is' if len(above) < 2 else 'are'} above pairs at every seed."
    )


def _frozen(study: Study) -> str:
    """What is lost when random embeddings are kept."""
    held, frozen, moving = (_by_targets(study, targets) for targets in ("held", "frozen", "moving"))
    kept = (frozen["accuracy"] / held["accuracy"]).sort_values(ascending=False)
    each = ", ".join(f"{name} {kept[name]:.0%}" for name in kept.index)
    plain = _plain(study, "frozen")["accuracy"] / _plain(study)["accuracy"]
    return (
        f"Random embeddings that are never trained leave {plain:.0%} of the accuracy of cross-entropy, and of that of distances "
        f"with held targets {each}; they are better than moving ones in "
        f"{int((frozen['accuracy'] > moving['accuracy']).sum())} of {len(frozen)} distances "
        f"(in {int((frozen['low'] > moving['high']).sum())} at every seed)."
    )


def _collapse(study: Study) -> str:
    """Embeddings that move to the prediction."""
    held, moving = _by_targets(study, "held"), _by_targets(study, "moving")
    runs, letters = _used(study, "moving"), _control(study, "frequencies of letters")
    share = moving["loss"] / held["loss"]
    return (
        f"Where targets move, letters' embeddings draw together: mean cosine {span(moving['cosine'], 2)} (held "
        f"{span(held['cosine'], 2)}), effective rank {span(moving['rank'], 0)} (held {span(held['rank'], 0)}). The loss is "
        f"{share.min():.0%} to {share.max():.0%} of that with held targets, and the accuracy "
        f"{span(moving['accuracy'], 2)} against {span(held['accuracy'], 2)}; {int((runs['accuracy'] < letters).sum())} of "
        f"{len(runs)} societies are worse than who says the commonest letter always."
    )


def _used(study: Study, targets: str) -> pd.DataFrame:
    """Every run of the distances at the rate that was better."""
    runs, rate = study[aims.RUNS], _by_targets(study, targets)["rate"]
    own = runs[(runs["targets"] == targets) & (runs["objective"] != "cross-entropy")]
    return own[own["rate"] == own["objective"].map(rate)]


def _trap(study: Study) -> str:
    """That the accuracy rises first, and falls while the loss goes on falling."""
    over = study[aims.OVER]
    own = over[(over["targets"] == "moving") & (over["objective"] != "cross-entropy")]
    runs = [one.sort_values("step") for _, one in own.groupby(["objective", "seed"])]
    peaks = [(one.loc[one["accuracy"].idxmax()], one.iloc[-1]) for one in runs]
    worse = [(peak, end) for peak, end in peaks if end["accuracy"] < peak["accuracy"] and end["test_loss"] < peak["test_loss"]]
    lost = sorted(float(peak["accuracy"] - end["accuracy"]) for peak, end in peaks)
    early = sum(peak["step"] <= study.settings["steps"] / 4 for peak, _ in peaks)
    return (
        f"The loss does not tell: in {len(worse)} of {len(runs)} societies with moving targets the accuracy on held-out text is "
        f"lower at the end than it was ({lost[0]:.3f} to {lost[-1]:.3f} lower than at its best, which {early} have in the first "
        "quarter of the steps) while the loss on the same text is lower too."
    )


def _rates(study: Study) -> str:
    """That the table shows the rate that collapses less."""
    runs, rate = study[aims.RUNS], _by_targets(study, "moving")["rate"]
    own = runs[(runs["targets"] == "moving") & (runs["objective"] != "cross-entropy")]
    chosen = own["rate"] == own["objective"].map(rate)
    other = own[~chosen].set_index("objective")
    beside = own[chosen & (own["seed"] == other["seed"].iloc[0])].set_index("objective").loc[other.index]
    alike = int(((other["cosine"] > beside["cosine"]) & (other["loss"] < beside["loss"])).sum())
    return (
        f"The rate shown was chosen for accuracy. At the other one (one seed) embeddings are more alike, and the loss is lower, "
        f"with {alike} of {len(other)} distances: mean cosine {span(other['cosine'], 3)}, effective rank "
        f"{span(other['rank'], 1)}, loss {span(other['loss'], 4)}, accuracy {span(other['accuracy'], 2)}."
    )


def _read(study: Study) -> str:
    """How much is in the reading: other answers from the same states, and probabilities."""
    held = _by_targets(study, "held")
    better = held[held["nearest"] > held["accuracy"]]
    read = ", ".join(f"{row.Index} {row.nearest:.2f} for {row.accuracy:.2f}" for row in better.itertuples())
    cosine, pairs = held.loc["cosine"], _control(study, "frequencies of pairs", "fitted")
    plain, letters = _plain(study)["fitted"], _control(study, "frequencies of letters", "fitted")
    order = "no better than" if cosine["fitted"] >= pairs else "better than"
    return (
        f"A part of what distances lose is in the reading: the same states, read by the embedding nearest in cosine, give "
        f"{read or 'no more'}. Probabilities made of distances are poor: for cosine, with more right answers than pairs give, "
        f"the fitted perplexity is {cosine['fitted']:.1f}, {order} that of pairs ({pairs:.1f}; cross-entropy {plain:.1f}); for "
        f"the others it is {span(held['fitted'].drop('cosine'), 0)}, for frequencies of letters {letters:.0f}."
    )


def _listed(names: list[str]) -> str:
    """Names in a sentence."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
