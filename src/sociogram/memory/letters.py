"""Letters that a model writes to its later runs: pasts in a folder, numbered in the order in which they were written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, final

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.model import Model
from sociogram.steering.letter import SUFFIX, heading
from sociogram.steering.past import Past
from sociogram.watch.provenance import described, foreign

if TYPE_CHECKING:
    from sociogram.models.inputs import Promptable
    from sociogram.steering.steer import Steered

ORDERS = ("oldest", "newest", "second_to_last")
LOCK = ".lock"
PATIENCE = 60.0
"""Seconds to wait for another process that is writing."""
_LETTER = re.compile(r"\d+" + re.escape(SUFFIX))
_SHOWN = 60


@final
class Bundle:
    """Several letters in the order in which they are read, as one source: `edits.attend(source=letters.read(model))`.

    With `positions="before"` they stand in one row before the prompt, the last one read nearest to it.

    Attributes:
        numbers: of the letters, in that order.
        names: the texts of all their tokens.
        positions: `[token]`, where each token stood in its letter.
        ages: `[token]`, how many letters were written after the token's own; what `forget` goes by.

    Misleads: each letter was written without the others being heard, unless its run heard them.
    """

    def __init__(self, model: Model, pasts: Sequence[Past], numbers: Sequence[int], ages: Sequence[int]) -> None:
        """Made by `Letters.read`."""
        self._model, self._pasts, self.numbers = model, tuple(pasts), tuple(numbers)
        self.names = [name for past in pasts for name in past.names]
        self.positions: Int[Tensor, " token"] = torch.cat([past.positions for past in pasts])
        lengths = torch.tensor([len(past) for past in pasts], device=self.positions.device)
        self.ages: Int[Tensor, " token"] = torch.tensor(ages, device=self.positions.device).repeat_interleave(lengths)

    def heard_by(self, model: Model) -> Bundle:
        """Itself, for the model that it was read with.

        Raises:
            InputError: another model.
        """
        if other := foreign(described(self._model), model):
            what, there, here = other
            raise InputError(
                f"these letters were read with {self._model.name} ({what} {there}), and {model.name} ({what} {here}) listens: "
                "letters.read(model) with that one"
            )
        return self

    def told(
        self, name: tuple[str, int]
    ) -> tuple[Float[Tensor, "kv_head token d_head"], Float[Tensor, "kv_head token d_value"]] | None:
        """Keys and values of all letters for one attention call; None where they have none."""
        parts = [told for past in self._pasts if (told := past.told(name)) is not None]
        if len(parts) < len(self._pasts):
            return None
        keys, values = zip(*parts, strict=True)
        return torch.cat(keys, 1), torch.cat(values, 1)

    def __len__(self) -> int:
        """How many letters."""
        return len(self.numbers)

    def __repr__(self) -> str:
        """Which letters, and how many tokens."""
        which = ", ".join(map(str, self.numbers))
        return f"Bundle of {len(self)} letters ({which}; {len(self.names)} tokens)"


@final
class Letters:
    """A folder of letters of one model: `letters.write(past)`, and in a later run `letters.read(model)`.

    A letter is there as a whole or not at all; letters are numbered from 1 in the order in which they were written, by any
    number of processes. The folder is made with the first letter. As a source (`edits.attend(source=letters)`) it is read oldest
    first.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        """Of a folder, which need not be there yet.

        Raises:
            InputError: a file, or a folder that holds other things.
        """
        self.folder = Path(folder)
        if self.folder.is_file():
            raise InputError(f"{self.folder} is a file; letters are kept in a folder")
        if self.folder.is_dir() and (odd := [p.name for p in sorted(self.folder.iterdir()) if not _belongs(p)]):
            raise InputError(f"{self.folder} holds other things than letters ({odd[0]}): name a folder of their own")

    def write(self, what: Past | Promptable, *, model: Model | Steered | None = None) -> int:
        """Put a letter behind those that are there.

        Args:
            what: a `Past`, such as `sg.Past.of(steered, prompt, generate=40)`; or a text, which `model` reads now.
            model: who reads a text.

        Returns:
            Its number.

        Raises:
            InputError: a text without a model, a past with one, another model than that of the letters there, or a folder that
                cannot be written to.
            UnsupportedModelError: a model without a cache of keys and values.
        """
        past = self._past(what, model)
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / LOCK, timeout=PATIENCE):
                return self._put(past)
        except Timeout as error:
            raise InputError(
                f"{self.folder} is being written to by another process for more than {PATIENCE:.0f} s: wait until it has ended"
            ) from error
        except OSError as error:
            raise InputError(f"{self.folder} cannot be written to: {error.strerror or error}") from error

    def _past(self, what: Past | Promptable, model: Model | Steered | None) -> Past:
        if isinstance(what, Past):
            if model is not None:
                raise InputError("letters.write(past, model=...): a past is of its own model; leave model out")
            return what
        if model is None:
            raise InputError(f"letters.write({what!r}): say who reads the text, model=...; or give a Past")
        return Past.of(model, what)

    def _put(self, past: Past) -> int:
        for left in self.folder.glob(f".*{SUFFIX}.*"):  # by a writer that did not come to an end
            shutil.rmtree(left, ignore_errors=True)
        numbers = self.numbers
        if numbers and (other := foreign(heading(self._file(numbers[-1])), past.model)):
            what, there, here = other
            raise InputError(
                f"{self.folder} holds letters of another model ({what} {there}), and this one is of {past.model.name} ({what} "
                f"{here}): letters of one model lie in one folder"
            )
        number = max(numbers, default=0) + 1
        past.save(self._file(number))
        return number

    @property
    def numbers(self) -> list[int]:
        """The letters that are there, in the order in which they were written."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.stem) for path in self.folder.iterdir() if _LETTER.fullmatch(path.name))

    @property
    def table(self) -> pd.DataFrame:
        """One row per letter: `number, tokens, text` (its beginning), `written` (UTC), `model`."""
        rows = []
        for number in self.numbers:
            file = self._file(number)
            about = heading(file)
            text = "".join(map(str, about["texts"])).replace("␣", " ").replace("↵", "\n")
            when = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
            rows.append((number, len(about["texts"]), text[:_SHOWN], when, str(about.get("model"))))
        return pd.DataFrame(rows, columns=["number", "tokens", "text", "written", "model"])

    def read(self, model: Model, *, count: int | None = None, order: str = "oldest") -> Bundle:
        """Several letters as one source, as they are now.

        Args:
            model: who listens; the letters must be its own.
            count: at most how many, the first of that order; all when left out.
            order: `"oldest"`: the oldest first, then the later ones; `"newest"`: the newest first, then those before it;
                `"second_to_last"`: the last but one first, then those before it. The very last is left unread then.

        Raises:
            InputError: no letter to read in that order, an unknown order, a count below 1, or letters of another model.
        """
        if order not in ORDERS:
            raise InputError(f"letters.read(order={order!r}): choose one of {', '.join(ORDERS)}")
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise InputError(f"letters.read(count={count!r}): a whole number from 1 up, or None for all")
        there = self.numbers
        ordered = {"oldest": there, "newest": there[::-1], "second_to_last": there[-2::-1] if len(there) > 1 else []}[order]
        if not ordered:
            raise InputError(f'{self!r}: no letter to read with order="{order}": write {"one" if not there else "another"} first')
        chosen = ordered[:count]
        pasts = [Past.load(self._file(number), model) for number in chosen]
        return Bundle(model, pasts, chosen, [len(there) - 1 - there.index(number) for number in chosen])

    def heard_by(self, model: Model) -> Bundle:
        """All letters, oldest first: what `edits.attend(source=letters)` listens to. Errors as `read`."""
        return self.read(model)

    def __fspath__(self) -> str:
        """The folder, by which edits that listen to all letters are stored."""
        return str(self.folder)

    def _file(self, number: int) -> Path:
        known = [path for path in self.folder.glob(f"*{SUFFIX}") if _LETTER.fullmatch(path.name) and int(path.stem) == number]
        return known[0] if known else self.folder / f"{number:04d}{SUFFIX}"

    def __len__(self) -> int:
        """How many letters there are."""
        return len(self.numbers)

    def __repr__(self) -> str:
        """Where, and how many."""
        return f"Letters({str(self.folder)!r}: {len(self)} letters)"


def _belongs(path: Path) -> bool:
    return path.name.startswith(".") or bool(_LETTER.fullmatch(path.name))
