"""What came out of each full run, in sentences whose numbers are read off its tables.

The words are about the committed runs and are read again whenever those are made anew; the numbers follow by themselves.
"""

from __future__ import annotations

from collections.abc import Callable

from experiments import findings_dictionary, findings_society, findings_talking
from sociogram.experiments import Study


def findings(study: Study) -> list[str]:
    """The sentences on one study; none where nothing has been written yet."""
    told = _FINDINGS.get(study.name)
    return told(study) if told else []


def _descent(study: Study) -> list[str]:
    rows = study["Trained attention against gradient descent"].set_index(["examples", "model"])
    spread = study["Trained attention from other seeds"]
    exact = study["Constructed weights against gradient descent"]["difference"].max()
    step = rows.xs("GD, 1 step", level="model")["loss"]
    near = rows.xs("linear attention, 1 layer", level="model")["cosine_GD"].min()
    two = spread[spread["model"] == "softmax attention, 2 heads"]
    left = int((two["loss"] < two["examples"].map(step) * 1.1).sum())
    ranges = study["Inputs from other ranges than in training"].set_index(["range", "model"])["relative_loss"]
    far = ranges.index.get_level_values("range").max()
    return [
        f"Weights by hand do K steps of gradient descent to {exact:.1e}; letting the query be heard too breaks it, but not "
        "at one layer from a start of zero, where a test would not see it.",
        "One trained linear layer is the best single step: the same loss at every number of examples and every seed, and its "
        f"sensitivities to the query point the same way (cosine at least {near:.4f}). Two layers are better than two "
        "steps of GD and than GD++.",
        f"One softmax head does not come near to the step. Two heads do in {left} of {len(two)} trainings (within a tenth of the "
        "step's loss); in the others they still do what one head does.",
        f"On inputs {far:g} times as large as in training the single linear layer errs as the single step does "
        f"({ranges[far, 'linear attention, 1 layer']:.2f} and {ranges[far, 'GD, 1 step']:.2f} of predicting zero), and two "
        f"layers diverge ({ranges[far, 'linear attention, 2 layers']:.0f}): the algorithm was learned for a range.",
    ]


def _motion(study: Study) -> list[str]:
    closed = study["The common cosine from orthogonal tokens"]["difference"].max()
    rank = study["Rank with and without skips and MLPs"].set_index(["layers", "stop"])["effective_rank"].sort_index()
    last = rank.index.get_level_values("stop").max()
    clusters = study["Clusters over time"]
    plane = clusters[(clusters["d_model"] == 2) & (clusters["beta"] > 1)].iloc[-1]
    model = study["Every stop of the model"].set_index(["weights", "measure", "stop"])["without_first"].sort_index()
    end = model.index.get_level_values("stop").max()
    cohesion, effective = (
        {kind: model[kind, measure, end] for kind in ("trained", "fresh")} for measure in ("cohesion", "effective_rank")
    )
    return [
        f"From orthogonal tokens the simulated cosine follows the closed form to {closed:.0e}.",
        f"On the circle with beta {plane['beta']:g} there are still {plane['clusters']:g} clusters at time {plane['time']:g}, "
        "with beta 1 or in 64 dimensions one: metastability is a matter of dimension and sharpness.",
        f"{last} layers of attention alone leave an effective rank of {rank['attention', last]:.2f}, and with MLPs "
        f"{rank['attention, MLPs', last]:.2f}; with skips it is {rank['attention, skips', last]:.1f}: they hold tokens apart.",
        f"In the model the tokens of real texts gather too, but less than with fresh weights: mean cosine "
        f"{cohesion['trained']:.2f} against {cohesion['fresh']:.2f} at the end, effective rank {effective['trained']:.0f} "
        f"against {effective['fresh']:.0f} (without the first token).",
    ]


def _first_weights(study: Study) -> list[str]:
    parts = study["Parts that drift"]
    single = parts[parts["parts"] > 0]
    drift = ", ".join(
        f"{int(row.drift)} of {int(row.parts)} ({row.weights}, {row.part})"
        for row in single.itertuples()
        if row.at_layer >= 0 and row.drift
    )
    gains = study["Gains of common layers, measured and in closed form"]
    warm = study["Warm-up against formulas"].set_index(["start", "warmed"])
    variance, rank = (
        [warm.loc[(start, warmed), column] for warmed in (False, True)]
        for start, column in (("torch's default", "lowest_variance"), ("Glorot", "effective_rank"))
    )
    return [
        f"The closed forms hold: no gain is further from its formula than {gains['off'].abs().max():.1f} standard errors.",
        f"Parts of the model whose gain leaves the limit: {drift}.",
        "Training for mean 0 and variance 1 brings what formulas bring: from torch's default the lowest variance of a layer goes "
        f"from {variance[0]:.3f} to {variance[1]:.2f}. It costs rank: the last layer's effective rank goes from {rank[0]:.1f} to "
        f"{rank[1]:.1f} from Glorot's start.",
    ]


def _resolution(study: Study) -> list[str]:
    peaks = study["Where most is carried over"].set_index(["model", "kind", "change"]).sort_index()
    said = []
    for model, kind in peaks.index.droplevel("change").unique():
        cue, cut, beside = (peaks.loc[(model, kind, name)] for name in ("cue", "cue, its edges cut", "distractor"))
        word = "pronouns take over their person" if kind == "pronoun" else "ambiguous words their sense"
        said.append(
            f"{model}: {word} most in layer {int(cue['layer'])}, cosine {cue['toward']:.3f} ± {cue['error']:.3f} "
            f"({cue['pairs_toward']:.0%} of pairs towards it; another pair's meanings {cue['another']:.3f}). With the cue's "
            f"edges to the word cut {cut['toward']:.3f} is left; a change of the distractor brings {beside['toward']:.3f}."
        )
    return said


def _generality(study: Study) -> list[str]:
    """Of the committed run, which is about in-context-descent."""
    runs = study["Every run"]
    trained = runs[runs["table"] == "Trained attention against gradient descent"]
    values = trained.assign(model=trained["row"].str.partition("model=")[2]).pivot(
        index="run", columns=["model", "number"], values="value"
    )
    near = values["linear attention, 1 layer", "cosine_GD"].min()
    better = int((values["linear attention, 2 layers", "loss"] < values["GD++, 2 steps", "loss"]).sum())
    parted = int((values["softmax attention, 2 heads", "loss"] < values["GD, 1 step", "loss"] * 1.1).sum())
    over = " and ".join(f"{name} {', '.join(map(str, told))}" for name, told in study.settings["over"].items())
    return [
        f"Over {over} ({len(values)} runs): one linear layer is the single step in all (cosine of the sensitivities at least "
        f"{near:.4f}); two layers are better than GD++ in {better}; two softmax heads come near to the step in {parted}.",
    ]


_FINDINGS: dict[str, Callable[[Study], list[str]]] = {
    "in-context-descent": _descent,
    "collective-motion": _motion,
    "initialisation": _first_weights,
    "resolution": _resolution,
    "generality": _generality,
    "emergence": findings_society.emergence,
    "pooling": findings_society.pooling,
    "communication": findings_talking.communication,
    "objective": findings_talking.objective,
    "dictionary": findings_dictionary.dictionary,
}
