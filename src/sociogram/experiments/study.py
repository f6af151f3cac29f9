"""A study: what one run of an experiment found, with everything needed to read it and to make it again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import sociogram as sg
from sociogram.core.files import whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FORMAT = 1
"""Of the JSON document; another one is refused."""

_KINDS = {"i": "integer", "u": "integer", "f": "number", "b": "truth", "O": "text", "U": "text"}
_TYPES = {"integer": "int64", "number": "float64", "truth": "bool", "text": "object"}
_BEYOND = {"inf": float("inf"), "-inf": float("-inf")}


@final
@dataclass(frozen=True, eq=False)
class Table:
    """One table of a study.

    Attributes:
        title: what its rows are.
        frame: the rows; columns of whole numbers, numbers, truth values or texts.
        keys: the columns that say which row it is; all others are what was found, and `generality` compares those.
        note: how to read it, or nothing.
    """

    title: str
    frame: pd.DataFrame
    keys: tuple[str, ...]
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not be stored or told apart.

        Raises:
            InputError: keys that are no columns or that name two rows alike; a column of something else.
        """
        missing = [key for key in self.keys if key not in self.frame]
        if missing:
            raise sg.InputError(f"Table({self.title!r}): keys={self.keys} but there is no column {', '.join(missing)}")
        for name in self.frame.columns:
            self.kind(name)
        if self.keys and self.frame.duplicated(list(self.keys)).any():
            row = int(self.frame.duplicated(list(self.keys)).to_numpy().argmax())
            twice = {key: _plain(self.frame[key].iloc[row]) for key in self.keys}
            raise sg.InputError(f"Table({self.title!r}): two rows have the keys {twice}: a key must tell rows apart")

    def kind(self, column: str) -> str:
        """What the column holds: `integer`, `number`, `truth` or `text`."""
        dtype = self.frame[column].dtype
        kind = "text" if str(dtype).startswith("str") else _KINDS.get(dtype.kind, "")
        if not kind or (kind == "text" and not all(isinstance(value, str) for value in self.frame[column])):
            raise sg.InputError(
                f"Table({self.title!r}): column {column!r} holds {dtype}; "
                "a study keeps whole numbers, numbers, truth values and texts"
            )
        return kind

    def as_plain(self) -> dict[str, Any]:
        """For JSON: columns with their kind; what is no number is null, infinities are texts."""
        columns = {str(n): {"kind": self.kind(n), "values": [_plain(v) for v in self.frame[n]]} for n in self.frame.columns}
        return {"title": self.title, "keys": list(self.keys), "note": self.note, "columns": columns}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Table:
        """From what `as_plain` gave."""
        import pandas as pd

        columns = {}
        for name, column in plain["columns"].items():
            values = [float("nan") if v is None else v for v in column["values"]]
            if column["kind"] == "number":
                values = [_BEYOND[v] if isinstance(v, str) else v for v in values]
            columns[name] = pd.Series(values, dtype=_TYPES[column["kind"]])
        return cls(plain["title"], pd.DataFrame(columns), tuple(plain["keys"]), plain["note"])


def _plain(value: Any) -> Any:
    """A cell as JSON has it."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and value != value:
        return None
    return str(value) if isinstance(value, float) and value in _BEYOND.values() else value


@final
@dataclass(frozen=True, eq=False)
class Study:
    """What one run of an experiment found.

    Attributes:
        name: the experiment's.
        question: what it asks.
        tables: what was found.
        cannot_show: what no number here says, in sentences.
        settings: every setting with its value, as plain values.
        seeds: all that were used; each run draws everything from its seed.
        quick: whether it was a quick run: smaller, for seeing that it works; its numbers are not results.
        machine: where it ran.
        versions: of the packages that it ran with.
        seconds: how long it took.
        made: when, in UTC.
        code: sha256 of the sources that made it; see `experiments.code`.
    """

    name: str
    question: str
    tables: tuple[Table, ...]
    cannot_show: tuple[str, ...]
    settings: dict[str, Any]
    seeds: tuple[int, ...]
    quick: bool
    machine: dict[str, Any] = field(repr=False)
    versions: dict[str, str] = field(repr=False)
    seconds: float
    made: str
    code: str

    def __getitem__(self, title: str) -> pd.DataFrame:
        """The rows of the table of this title.

        Raises:
            InputError: no such table.
        """
        for table in self.tables:
            if table.title == title:
                return table.frame
        raise sg.InputError(f"{self.name} has no table {title!r}: it has {', '.join(repr(t.title) for t in self.tables)}")

    @property
    def stem(self) -> str:
        """What its files are called: the name, of a generality the experiment too, and whether it was quick."""
        of = self.settings.get("experiment")
        return self.name + (f"-{of}" if of else "") + (".quick" if self.quick else "")

    def as_plain(self) -> dict[str, Any]:
        """The whole study as one JSON document."""
        told = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "tables"}
        return {"format": FORMAT, **told, "tables": [table.as_plain() for table in self.tables]}

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `STEM.json` into a folder (made where there is none) and return its path. The file is whole or not there."""
        into = Path(folder)
        into.mkdir(parents=True, exist_ok=True)
        path = into / f"{self.stem}.json"
        text = json.dumps(self.as_plain(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        with whole(path) as part:
            part.write_text(text, encoding="utf-8")
        return path

    def save_picture(self, folder: str | os.PathLike[str]) -> Path:
        """Draw it into `STEM.png` in a folder (made where there is none) and return the path. The file is whole or not there.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure, into = self.draw(), Path(folder)
        into.mkdir(parents=True, exist_ok=True)
        path = into / f"{self.stem}.png"
        with whole(path) as part:
            figure.savefig(part, dpi=100)
        return path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Study:
        """A study from its file.

        Raises:
            InputError: no such file, no study, or one of another format.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
            written = plain["format"]
            if written == FORMAT:
                return cls._from_plain(plain)
        except FileNotFoundError as error:
            raise sg.InputError(f"Study.open({str(path)!r}): there is no such file") from error
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise sg.InputError(f"Study.open({str(path)!r}): this is no study that `save` wrote ({error!r})") from error
        raise sg.InputError(f"Study.open({str(path)!r}): format {written}, and this version reads {FORMAT}: run it again")

    @classmethod
    def _from_plain(cls, plain: Mapping[str, Any]) -> Study:
        tables = tuple(Table.from_plain(table) for table in plain["tables"])
        rest = {name: value for name, value in plain.items() if name not in ("format", "tables")}
        rest |= {"cannot_show": tuple(rest["cannot_show"]), "seeds": tuple(rest["seeds"])}
        return cls(tables=tables, **rest)

    def draw(self) -> Figure:
        """The experiment's picture of this study, drawn from its tables.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from sociogram.experiments.registry import open_experiment

        figure: Figure = open_experiment(self.name).draw(self)
        return figure

    @property
    def provenance(self) -> str:
        """Settings, seeds, machine, time and code in a few lines."""
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        machine = ", ".join(f"{value}" for value in self.machine.values())
        kind = "a quick run: its numbers are no results" if self.quick else "a full run"
        return (
            f"{kind}, {self.seconds:.1f} s, {self.made}, {listed('seed', self.seeds)}\n{settings}\n{machine}; {versions}\n"
            f"code {self.code[:16]}"
        )

    def __str__(self) -> str:
        """Everything, for reading."""
        parts = [f"{self.name}: {self.question}"]
        for table in self.tables:
            rows = table.frame.to_string(index=False, float_format=lambda number: f"{number:.4g}")
            parts.append("\n".join([table.title, rows, *([table.note] if table.note else [])]))
        parts.append("\n".join(["What this cannot show:", *(f"- {sentence}" for sentence in self.cannot_show)]))
        return "\n\n".join([*parts, self.provenance])


def listed(what: str, values: Sequence[Any]) -> str:
    """`seed 0`, or `seeds 0, 1, 2`."""
    return f"{what}{'s' if len(values) != 1 else ''} {', '.join(map(str, values))}"
