"""What came out of `dictionary`; `findings` names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sociogram.experiments import Study
from sociogram.experiments import dictionary_arms as arms
from sociogram.experiments import dictionary_tables as tables

if TYPE_CHECKING:
    import pandas as pd


def dictionary(study: Study) -> list[str]:
    """Whether the entries help, against every control, at which cost, and what of it is the entries' content."""
    models = list(dict.fromkeys(study[tables.LOSS]["model"]))
    return [
        *(_helps(study, model) for model in models),
        *(_parts(study, model) for model in models),
        *(_cost(study, model) for model in models),
        _senses(study, models),
        *([_choices(study[tables.CHOICE])] if any(table.title == tables.CHOICE for table in study.tables) else []),
        _rates(study),
        _verdict(study, models),
    ]


def _cell(study: Study, model: str, first: str, second: str, where: str) -> pd.Series:
    return study[tables.DIFFERENCE].set_index(["model", "first", "second", "where"]).loc[(model, first, second, where)]


def _wide(row: pd.Series) -> float:
    """Half of the wider of the two intervals."""
    return max(half for half in (row["seeds_half"], row["rows_half"]) if half == half)


def _told(row: pd.Series) -> str:
    """A difference with the wider of its intervals."""
    return f"{row['difference']:+.3f} ± {_wide(row):.3f}"


def _clear(row: pd.Series) -> bool:
    return abs(row["difference"]) > _wide(row)


def _helps(study: Study, model: str) -> str:
    every, rare = (_cell(study, model, arms.DICTIONARY, arms.WIDER, where) for where in ("all", "after rare"))
    shuffled, behind = (_cell(study, model, arms.DICTIONARY, arms.SHUFFLED, where) for where in ("all", "after rare"))
    return (
        f"{model}: with the entries beside the stream the loss is {_told(every)} nats a token against an equally large adapter "
        f"without them, and behind rare words {_told(rare)} ({_said(every)} and {_said(rare)}; the wider of the 95 % "
        f"intervals over {int(every['seeds'])} seeds and over the text's rows). Against the same entries dealt out wrongly: "
        f"{_told(shuffled)} and {_told(behind)} ({_said(shuffled)} and {_said(behind)})."
    )


def _said(row: pd.Series) -> str:
    if not _clear(row):
        return "not told from 0"
    return "better" if row["difference"] < 0 else "worse"


def _parts(study: Study, model: str) -> str:
    shuffled = _cell(study, model, arms.SHUFFLED, arms.ZEROS, "all")
    across = _cell(study, model, arms.ACROSS, arms.WIDER, "all")
    beside = _cell(study, model, arms.DICTIONARY, arms.ACROSS, "all")
    prompt, rare = (_cell(study, model, arms.PROMPT, arms.PLAIN, where) for where in ("all", "after rare"))
    return (
        f"{model}, the others: entries of other words, a code for each word whatever it says, {_told(shuffled)} against zeros "
        f"({_said(shuffled)}); cross-attention to the entries {_told(across)} against an adapter without them ({_said(across)}), "
        f"and the MLP {_told(beside)} against it ({_said(beside)}); definitions in the prompt {_told(prompt)} against the plain "
        f"model ({_said(prompt)}), behind rare words {_told(rare)} ({_said(rare)})."
    )


def _cost(study: Study, model: str) -> str:
    cost = study[tables.COST].set_index(["model", "arm"])
    own, prompt, across = (cost.loc[(model, arm)] for arm in (arms.DICTIONARY, arms.PROMPT, arms.ACROSS))
    return (
        f"{model}, the cost: {own['flops_times']:.3f} times the plain model's operations a token "
        f"({own['parameters']:,.0f} parameters); cross-attention {across['flops_times']:.3f}; definitions in the prompt "
        f"{prompt['flops_times']:.1f} ({prompt['read']:.0f} tokens read for each of the text), which take "
        f"{prompt['ms'] / own['ms']:.1f} times as long as the adapter with entries. To have read the "
        f"{own['entries']:,.0f} tokens of all entries once is paid back after "
        f"{own['entry_flops'] / (prompt['flops'] - own['flops']):,.0f} tokens of text that need no definitions in the prompt."
    )


SENSES = {"plain": arms.PLAIN, "wider adapter": arms.WIDER, "dictionary": arms.DICTIONARY, "in the prompt": arms.PROMPT}


def _senses(study: Study, models: list[str]) -> str:
    senses = study[tables.SENSES].set_index(["model", "arm"])
    said = []
    for model in models:
        cells = {name: senses.loc[(model, arm)] for name, arm in SENSES.items()}
        told = (f"{name} {row['score']:.2f} ± {row['error']:.2f} ({row['right']:.0%} above 0)" for name, row in cells.items())
        said.append(f"{model}: {', '.join(told)}")
    return (
        "Words of two senses, nats by which a context favours the continuation that fits it (standard error over words): "
        f"{'; '.join(said)}."
    )


def _choices(table: pd.DataFrame) -> str:
    means = table.groupby("choice", sort=False)["all"].mean()
    spread = table.pivot(index="seed", columns="choice", values="all")
    apart = (spread["two, sorted"] - spread["two, unsorted"]).to_numpy()
    told = ", ".join(f"{name}: {loss:.3f}" for name, loss in means.items())
    return (
        f"Which entry is given matters little in the society ({told}); two slots sorted by frequency against unsorted: "
        f"{apart.mean():+.4f}, lower in {int((apart < 0).sum())} of {len(apart)} seeds."
    )


def _rates(study: Study) -> str:
    """Which arms wanted the highest rate that was tried, and how far cross-attention came."""
    runs = study[tables.RUNS].dropna(subset=["rate"])
    last = runs[runs["seed"] == runs["seed"].min()]
    said = []
    for model, own in last.groupby("model", sort=False):
        highest = own["rate"].max()
        lower = [str(arm) for arm in own[own["rate"] < highest]["arm"]]
        said.append(f"{model}'s at {highest:g}{', but ' + ' and '.join(lower) if lower else ''}")
        across = _cell(study, str(model), arms.ACROSS, arms.PLAIN, "all")
        said[-1] += f" (cross-attention ended {_told(across)} from the plain model)"
    return (
        f"Most adapters were best at the higher of two rates ({'; '.join(said)}): higher ones and more steps might take all "
        "further, and what cross-attention did not learn in these steps it might learn in more."
    )


def _verdict(study: Study, models: list[str]) -> str:
    """What entries are worth over their control, beside what definitions in the prompt are worth over theirs."""
    parts = []
    for model in models:
        whole, rare = (_cell(study, model, arms.DICTIONARY, arms.WIDER, where) for where in ("all", "after rare"))
        content = _cell(study, model, arms.DICTIONARY, arms.SHUFFLED, "after rare")
        prompt, behind = (_cell(study, model, arms.PROMPT, arms.PLAIN, where) for where in ("all", "after rare"))
        helped = {_said(row) for row in (whole, rare, content)} == {"better"}
        parts.append(
            f"{model}: {'yes' if helped else 'not shown'}; everywhere {_told(whole)}, where definitions bring {_told(prompt)}, "
            f"and behind rare words {_told(rare)}, where they bring {_told(behind)}"
        )
    return (
        "Do entries beside the stream help, by what they say (better than the wider adapter, and behind rare words than "
        f"entries dealt out wrongly), at a fraction of what definitions in the prompt cost? {'. '.join(parts)}. The "
        "definitions are against the plain model, without the control of wrong ones: what they bring, any text in front might."
    )
