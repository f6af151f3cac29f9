"""Which families can be watched: every entry of the zoo recorded and audited, as a table, a data file and a page of the docs."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from rich.progress import track

import sociogram as sg
from sociogram.models.examine import forward_arguments
from sociogram.models.seam import watching
from tests import zoo

ROOT = Path(__file__).parents[2]
DATA = ROOT / "src" / "sociogram" / "models" / "coverage.json"
PAGE = ROOT / "docs" / "coverage.md"
SECONDS = 60


@dataclass(frozen=True)
class Row:
    """One config entry, measured.

    `status`: `closed` (every layer that attends closes at message level; layers without attention are opaque), `partly` (some
    layers do not), `unsupported` (none does, or attention never passes the seam), `not built` (no tiny model of it could be
    made). `drift` is the largest difference of outputs while recording from the nearer of the model's own eager and sdpa
    paths, relative to the largest output; `unwatched` the same with a session open in which nobody watches.
    """

    entry: str
    model: str
    status: str
    layers: int = 0
    closed_layers: int = 0
    opaque_layers: int = 0
    opaque_share: float | None = None
    relative_error: float | None = None
    drift: float | None = None
    unwatched: float | None = None
    reason: str = ""


def measure(name: str) -> Row:
    """Build an entry, record it, audit it, compare its outputs with the plain model's."""
    try:
        specimen = zoo.build(name)
    except zoo.CannotBuild as error:
        return Row(name, "", "not built", reason=str(error).splitlines()[0][:120])
    kind = type(specimen.model).__name__
    model = sg.load(specimen.model)
    try:
        rec = sg.record(model, {n: v for n, v in specimen.inputs.items() if n != "use_cache"})
        audit = rec.audit()
    except sg.SociogramError as error:
        return Row(name, kind, "unsupported", reason=_short(str(error)))
    anatomy = rec.anatomy
    statuses = Counter(layer.status for layer in anatomy.layers)
    if not statuses["closed"]:
        return Row(name, kind, "unsupported", reason="no layer attends: recorded with opaque entries, without messages")
    whole = statuses["unsupported"] == 0 and not anatomy.outside
    reasons = [*anatomy.problems, *(f"attention outside the layers ({path})" for path in anatomy.outside[:1])]
    recorded, unwatched = drifts(specimen)
    return Row(
        name,
        kind,
        "closed" if whole else "partly",
        len(anatomy.layers),
        statuses["closed"],
        statuses["opaque"],
        float(audit.layers["opaque_share"].mean()),
        audit.max_relative_error,
        recorded,
        unwatched,
        "; ".join(reasons)[:160],
    )


def _short(text: str) -> str:
    return text.split(". ")[0].replace("\n", " ")[:160]


def drifts(specimen: zoo.Specimen) -> tuple[float, float]:
    """Differences of outputs from the nearer plain path: while weights are observed, and with nobody watching."""
    plain = _plain_outputs(specimen)
    watched, unwatched = (min(_difference(_shown(specimen, eyes), other) for other in plain) for eyes in (True, False))
    return watched, unwatched


class _Everything:
    """An observer that wants every weight and keeps none."""

    def __init__(self, wants: bool) -> None:
        self.wants = wants

    def wants_weights(self, call: object) -> bool:
        return self.wants

    def observe(self, call: object, weights: object, sink: object, output: object) -> None:
        """Nothing is kept."""


def _shown(specimen: zoo.Specimen, watched: bool) -> torch.Tensor:
    with torch.no_grad(), watching(specimen.model, [_Everything(watched)]):
        return zoo.main_output(specimen.model(**forward_arguments(specimen.model, specimen.inputs)))


def _plain_outputs(specimen: zoo.Specimen) -> list[torch.Tensor]:
    model, outputs = specimen.model, []
    before = model.config._attn_implementation
    for implementation in ("eager", "sdpa"):
        with contextlib.suppress(ValueError, KeyError, ImportError):
            model.set_attn_implementation(implementation)
            with torch.no_grad():
                outputs.append(zoo.main_output(model(**forward_arguments(model, specimen.inputs))))
    with contextlib.suppress(ValueError):
        model.set_attn_implementation(before)
    return outputs


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    finite = torch.isfinite(a) & torch.isfinite(b)
    return float(((a - b)[finite].abs().max() / b[finite].abs().max().clamp_min(1e-6)).item())


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Stop what takes longer, with a TimeoutError."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def sweep(names: tuple[str, ...]) -> list[Row]:
    """Measure every entry; one that crashes or hangs is a row with the reason."""
    rows = []
    for name in track(names, description="the zoo", console=None):
        try:
            with limited(SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows.append(measure(name))
        except Exception as error:
            rows.append(Row(name, "", "unsupported", reason=f"{type(error).__name__}: {_short(str(error))}"))
    return rows


def write(rows: list[Row]) -> None:
    """The data file that `sociogram models --coverage` prints, and the page of the docs."""
    about = {name: version(name) for name in ("transformers", "torch")}
    DATA.write_text(json.dumps({"about": about, "entries": [asdict(row) for row in rows]}, indent=0) + "\n")
    PAGE.write_text(page(rows, about))


HEAD = """# Coverage

Measured with transformers {transformers} and torch {torch} by `make coverage`: a tiny random model of every config entry is
built, recorded and audited, and its outputs are compared with the plain model's. Float32, two sequences.

| status | entries | meaning |
| --- | --- | --- |
| closed | {closed} | the account of every layer that attends adds up, message by message |
| partly | {partly} | some layers do, others are marked |
| unsupported | {unsupported} | nothing of the conversation can be read; the reason is in the table |
| not built | {not_built} | no tiny model could be made here (another package is needed, or the config refuses to shrink) |

- `error`: worst token's |account - model| over its move.
- `drift`: largest change of the output while weights are recorded, relative to the largest output, against the nearer of the
  model's own eager and sdpa paths (they disagree among themselves in some families).
- `opaque`: share of the entries' norm in mixers without a token-token matrix.

| entry | model | status | layers closed | opaque | error | drift | reason |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def page(rows: list[Row], about: dict[str, str]) -> str:
    """docs/coverage.md."""
    counts = Counter(row.status.replace(" ", "_") for row in rows)
    numbers = {name: counts[name] for name in ("closed", "partly", "unsupported", "not_built")}
    lines = [_line(row) for row in rows if row.status != "not built"]
    not_built = ", ".join(row.entry for row in rows if row.status == "not built")
    return HEAD.format(**about, **numbers) + "\n".join([*lines, "", f"Not built: {not_built}.", ""])


def _line(row: Row) -> str:
    share = "" if row.opaque_share is None else f"{row.opaque_share:.0%}"
    error = "" if row.relative_error is None else f"{row.relative_error:.0e}"
    drift = "" if row.drift is None else f"{row.drift:.0e}"
    layers = f"{row.closed_layers}/{row.layers}" if row.layers else ""
    cells = (row.entry, row.model, row.status, layers, share, error, drift, row.reason.replace("|", "\\|"))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    chosen = tuple(sys.argv[1:]) or zoo.entries()
    measured = sweep(chosen)
    if len(sys.argv) == 1:
        write(measured)
    else:
        print(*measured, sep="\n")
    print(Counter(row.status for row in measured))
