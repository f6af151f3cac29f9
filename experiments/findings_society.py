"""What came out of the studies of small societies, `emergence` and `pooling`; `findings` names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sociogram.experiments import Study
from sociogram.experiments import emergence as em
from sociogram.experiments import pooling as po

if TYPE_CHECKING:
    import pandas as pd


def emergence(study: Study) -> list[str]:
    """When heads that continue a repetition come up, and what they are needed for."""
    ends, fixed = study[em.ENDS], study[em.FIXED]
    one, two = (ends[ends["layers"] == layers] for layers in (1, 2))
    places, last = study[em.KNOWN]["accuracy"].iloc[2], study[em.COURSE].groupby("layers")["step"].max()
    left = study[em.NEEDED].set_index("change")["accuracy"]
    controls = left[[name for name in left.index if name.startswith("control: cut")]]
    return [
        f"Two layers come to an accuracy of {span(two['accuracy'], 3)} from {len(study.seeds)} seeds; one layer stays at "
        f"{span(one['accuracy'], 2)} in {last[1]} steps (two had {last[2]}), about what places tell without tokens "
        f"({places:.2f}), and comes to {span(fixed['accuracy'], 2)} only where the period is fixed, by position "
        f"({span(fixed['other_periods'], 2)} on other periods).",
        f"The head of layer 1 that matches prefixes most gives {span(two['prefix'], 3)} to what followed the reader's "
        f"token, and {span(two['elsewhere'], 2)} at the same places of texts that repeat nothing: it goes by content.",
        _order(study),
        _meanwhile(study),
        f"Cut from what followed, layer 1 leaves an accuracy of {span(left['cut layer 1 from what followed'], 3)}, and "
        f"layer 0, cut from the token before, {span(left['cut layer 0 from the token before'], 3)}, where cutting about as "
        f"many other edges of the same heads leaves {span(controls, 3)}.",
        _muted(study),
        _otherwise(study),
    ]


def _order(study: Study) -> str:
    """What rises when, and that what is needed first does not come first."""
    half, every = study[em.HALF], study.settings["every"]
    early = int((half["previous_half"] < half["prefix_half"]).sum())
    against = "as" if early == len(half) else "against what"
    return (
        f"The accuracy passes half of its end at step {span(half['accuracy_half'], 0)}, the score of that head at "
        f"{span(half['prefix_half'], 0)}, and that of the head of layer 0 that hears the token before at "
        f"{span(half['previous_half'], 0)} (seen every {every} steps): the head below is the earlier one in {early} of "
        f"{len(half)} seeds, {against} one would expect of what the other needs."
    )


def _meanwhile(study: Study) -> str:
    """How the networks and the flock change over the training."""
    heads, flock = study[em.NETWORKS].set_index(["role", "when"]).loc["prefix-matching"], study[em.FLOCK]
    entropy, distance = (f"{heads.loc['before', name]:.1f} to {heads.loc['after', name]:.1f}" for name in ("entropy", "distance"))
    end = flock[(flock["layers"] == 2) & (flock["stop"] == flock["stop"].max()) & (flock["tokens"] == "without first")]
    rank = end.pivot_table(index="step", columns="seed", values="effective_rank")
    return (
        f"Over the training the entropy of heads that match prefixes goes from {entropy} nats and the distance at which they "
        f"listen from {distance} tokens; the effective rank of the flock after layer 1 starts at {span(rank.iloc[0], 0)}, is "
        f"lowest at step {span(rank.idxmin(), 0)} with {span(rank.min(), 0)}, and ends at {span(rank.iloc[-1], 0)}."
    )


def _muted(study: Study) -> str:
    """That whole heads are a coarse cut."""
    muted, left = study[em.MUTED], study[em.NEEDED].set_index("change")["accuracy"]
    early = muted[muted["layer"] == 0].set_index(["seed", "head"])
    same = sum(own["accuracy"].idxmin() == own["previous"].idxmax() for _, own in early.groupby("seed"))
    return (
        f"Muting is a coarse cut: any single head of layer 1 can go ({muted[muted['layer'] == 1]['accuracy'].min():.2f} or more "
        "is left) since others do the same; in layer 0 muting the heads that hear the token before leaves "
        f"{span(left['mute the previous-token heads'], 2)}, but muting others as a control "
        f"{span(left['control: mute others of layer 0'], 2)}, and the single head that is missed most there is the one that "
        f"hears the token before most in {same} of {len(study.seeds)} seeds."
    )


def _otherwise(study: Study) -> str:
    """Which trainings came to the accuracy in a way that the score does not see."""
    tried = study[em.RATES]
    right = tried[(tried["layers"] == 2) & (tried["accuracy"] > 0.9)]
    other = right[right["beyond"] > right["prefix"]]
    if not len(other):
        return f"All of {len(right)} trainings of two layers that came to an accuracy above 0.9 match prefixes."
    rates = ", ".join(f"{rate:g}" for rate in sorted(other["rate"].unique()))
    return (
        f"The same accuracy is reached in another way too: {len(other)} of {len(right)} trainings of two layers that came to "
        f"more than 0.9 (those at rate {rates}, with {span(other['accuracy'], 3)}) have heads that give most one place beyond "
        f"what followed ({span(other['beyond'], 2)}) and less to what followed ({span(other['prefix'], 2)}), which a score "
        "for prefixes hardly sees; the sentences above on two layers are of each seed's best rate."
    )


def pooling(study: Study) -> list[str]:
    """Whether the mean over tokens is a better vector than the first token's."""
    form, ends = study[po.FORM], study[po.ACCURACY].groupby("trained")["lowest"].min()
    form = form.assign(off=(form["measured"] - form["closed_form"]).abs()).set_index("how")
    exact, errors = form.loc["all signs", "off"].max(), (form.loc["drawn", "off"] / form.loc["drawn", "error"]).max()
    return [
        "A mean of n independent vectors moves, when one joins, by a mean square of variance / (n (n + 1)): over all patterns "
        f"of signs to {exact:.0e}, over drawn vectors within {errors:.1f} standard errors.",
        "Societies learn to count planted clues either way: the lowest accuracy over lengths, clues and seeds is "
        f"{ends['cls']:.3f} trained and read at the first token, {ends['mean']:.3f} trained and read off the mean.",
        _read(study),
        _sooner(study),
        _joined(study),
        *_encoder(study),
    ]


def _read(study: Study) -> str:
    """What a fresh probe finds in the reading that was not trained."""
    table = study[po.READ]
    length, clues = table["length"].max(), table["clues"].min()
    read = table.set_index(["length", "clues", "trained", "read"]).sort_index()
    never = table[table["trained"] == "not"].pivot_table(index=["length", "clues"], columns="read", values="mean")
    cls, mean = (span(read.loc[(length, clues, *ways), ["lowest", "highest"]], 2) for ways in (("cls", "mean"), ("mean", "cls")))
    return (
        f"At {length} tokens with {clues} clues each is better the way it was trained: by a fresh linear probe those trained at "
        f"the first token are right at {cls} off the mean, those trained on the mean at {mean} at the first token; without any "
        f"training the mean is ahead in {int((never['mean'] > never['cls']).sum())} of {len(never)} settings, here with "
        f"{never.loc[(length, clues), 'mean']:.2f} against {never.loc[(length, clues), 'cls']:.2f}."
    )


def _sooner(study: Study) -> str:
    """Which way is learned sooner, by the number of clues."""
    table = study[po.ACCURACY].pivot_table(index=["clues", "length"], columns="trained", values="soon")
    said = []
    for clues, own in table.groupby("clues"):
        cls, mean = own["cls"], own["mean"]
        said.append(
            f"with {clues} clues sooner at {int((mean < cls).sum())} of {len(own)} lengths and later at "
            f"{int((mean > cls).sum())} (at {own.index[-1][1]} tokens step {mean.iloc[-1]:.0f} against {cls.iloc[-1]:.0f})"
        )
    return f"Means come to an accuracy of 0.9 {', '.join(said)}, seen every {study.settings['every']} steps."


def _joined(study: Study) -> str:
    """How far a token that joins moves the vector, by whether it says anything."""
    table = study[po.MOVED]
    long = table[table["length"] == table["length"].max()].set_index(["trained", "read", "added"])
    move = {
        (trained, added): " and ".join(f"{long.loc[(trained or way, way, added), 'relative']:#.2g}" for way in ("cls", "mean"))
        for trained in ("", "not")
        for added in ("neutral", "clue")
    }
    return (
        f"Of the variance between texts of {table['length'].max()} tokens, one neutral token more moves a vector trained at the "
        f"first token and one trained on means by {move['', 'neutral']}, a clue by {move['', 'clue']}; untrained, a neutral one "
        f"moves first token and mean by {move['not', 'neutral']}, a clue by {move['not', 'clue']}, and means of independent "
        f"vectors would go {long['expected'].iloc[0]:#.2g}, though tokens are not independent even there: their mean moves by "
        f"{long.loc[('not', 'mean', 'neutral'), 'independent']:.0f} times what their differences within a text would give."
    )


def _encoder(study: Study) -> list[str]:
    """What the encoder shows that was trained with means, and what does not follow."""
    real, texts, name = study[po.REAL], study.settings["passages"], study.settings["model"]
    found = {key: round(share * texts) for key, share in study[po.FOUND].set_index(["weights", "read"])["found"].items()}
    more = {kind: real[real["weights"] == kind]["independent"].dropna() for kind in ("trained", "fresh")}
    trained = real[real["weights"] == "trained"].pivot(index="tokens", columns="read", values=["median", "relative"])
    median, mean = (int((trained[column]["cls"] <= trained[column]["mean"]).sum()) for column in ("median", "relative"))
    return [
        f"Of {texts} texts {name} finds the other half by means for {found['trained', 'mean']} and at the first token for "
        f"{found['trained', 'cls']} (with fresh weights for {found['fresh', 'mean']} and {found['fresh', 'cls']}): it was "
        "trained with mean pooling, so that to conclude from it that means are better would be circular.",
        f"One token more moves its first token's vector no further than its mean at {median} of {len(trained)} lengths in the "
        f"median text, at {mean} on average over texts; its mean moves by {span(more['trained'], 0)} times what independent "
        f"tokens would give, with fresh weights by {span(more['fresh'], 1)}: after training, who joins moves the others.",
    ]


def span(values: pd.Series, digits: int) -> str:
    """From the lowest to the highest, or the one number that both are."""
    low, high = (f"{value:.{digits}f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"
