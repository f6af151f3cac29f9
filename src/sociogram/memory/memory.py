"""A memory: stored passages that a model can listen to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd

from sociogram.core.address import Given
from sociogram.core.errors import InputError
from sociogram.memory import recall
from sociogram.memory.agreement import agree, kept
from sociogram.memory.collection import Collection, check, listed
from sociogram.memory.index import build, completed
from sociogram.memory.meaning import meanings
from sociogram.memory.passages import Passage, passage_of
from sociogram.memory.recall import state_rows
from sociogram.memory.store import MEANINGS, PASSAGES, STATES, Store, numbers, vectors
from sociogram.memory.told import rows_of, told_table, turning
from sociogram.models.model import Model
from sociogram.watch.progress import LONG, bar

if TYPE_CHECKING:
    from sociogram.models.inputs import Promptable
    from sociogram.steering.past import Past
    from sociogram.watch.recording import Recording


@final
class Memory:
    """Passages with the keys and values that one model made of them, in a folder that lasts.

    A memory, or a collection of some of its passages, is a source to listen to: `edits.attend(source=memory, top_k=8)`. It holds
    the keys and values of one model's layers, all of them or those named when the first passage was added; a memory of another
    model is refused. Any number of processes may read while one writes; a passage is there as a whole or not at all, also after
    `kill -9`.

    Misleads: a passage's keys and values were made without the prompt and without the other passages; what hears them never met
    that in training. `top_k` and a gate keep a large memory from drowning the prompt.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Open a memory, or make an empty one.

        Raises:
            InputError: the folder holds something else, or cannot be made.
            MissingExtraError: LanceDB is not installed (`pip install 'sociogram[memory]'`).
        """
        if not isinstance(path, str | PathLike):
            raise InputError(f"sg.Memory({path!r}): give the path of a folder")
        self._store = Store(Path(path))

    def add(
        self,
        what: Promptable | Past | Recording,
        *,
        model: Model | None = None,
        layers: Given = None,
        keep: Sequence[str] = ("keys",),
        origin: str = "",
        text: str | None = None,
    ) -> str:
        """Store a passage.

        Args:
            what: a text (or token ids), which `model` reads now; a `Past`; or a recording with `keep="qkv"`.
            model: who reads a text.
            layers: whose keys and values are kept; all when left out. The same for all passages of a memory.
            keep: `"keys"` (keys and values, for `edits.attend`), `"states"` (where each token stood before the last layer's MLP
                and which token came next, for `edits.knn_lm`), or both. The same for all passages of a memory.
            origin: where it comes from, in your words.
            text: what it is called, where that is not the text of its tokens.

        Returns:
            Its id.

        Raises:
            InputError: what cannot be read; another model or other layers than the memory's; a folder that cannot be written to.
            UnsupportedModelError: a model without a cache of keys and values (give a recording).
        """
        for what_for, given in (("origin", origin), ("text", "" if text is None else text)):
            if not isinstance(given, str):
                raise InputError(f"memory.add({what_for}={given!r}): a text is needed")
        if not isinstance(keep, list | tuple) or not keep or any(one not in ("keys", "states") for one in keep):
            raise InputError(f'memory.add(keep={keep!r}): a tuple of "keys", "states" or both')
        reader, passage = passage_of(what, model, layers, origin, text, keep)
        with self._store.writing(passage.id):
            agree(self._store, reader, passage)
            rotation = turning(reader) if passage.told else None
            for number, (name, told) in enumerate(passage.told.items()):
                rows = rows_of(passage.id, told, name, passage.positions, rotation)
                self._store.add(told_table(number), completed(self._store, number, rows))
            if passage.states is not None:
                self._store.add(STATES, state_rows(passage.id, *passage.states))
            self._store.add(PASSAGES, _row(passage))
        return passage.id

    def remove(self, *ids: str) -> None:
        """Take passages away.

        Raises:
            InputError: no passage of this id.
        """
        if not ids:
            raise InputError("memory.remove(): name the passages, memory.remove(id, id); memory.passages lists those there are")
        self._known(ids)
        with self._store.writing(*ids):
            self._store.remove(ids)

    def index(self, layers: Given = None) -> None:
        """Make the index by which `edits.attend(source=memory, top_k=, positions="none")` finds its tokens among very many.

        All keys are compared up to 400,000 tokens, if they find room in memory, which is quicker there; else LanceDB's index
        finds nearly all of the same tokens (docs/benchmarks.md). What is added later is found too, more slowly, while none of its
        keys is longer than all that were there; else all keys are compared again, until the index is made anew.

        Args:
            layers: whose keys; all that the memory keeps when left out. Each layer costs a search in every pass.

        Raises:
            InputError: an empty memory, a layer that it does not keep, or a model whose keys cannot be freed of their positions.
            MemoryLimitError: one layer's keys and values take more than half of the memory that is free.
        """
        about, told = self._store.about, kept(self._store, layers)
        if told and not about["stripped"]:
            raise InputError(f"{self!r}.index(): keys of {about['model']} cannot be freed of their positions: they are compared")
        with self._store.writing(), bar("Indexing", len(told), len(told) + LONG, "layers") as advance:
            for number in told:
                build(self._store, number, range(about["calls"][number][2]))
                advance(1)
            if about["states"]:
                recall.build(self._store)

    @property
    def passages(self) -> pd.DataFrame:
        """Columns `id, text, origin, made, tokens` (how many), in the order in which they were added."""
        table = listed(self._store, None)
        return table.assign(tokens=[len(tokens) for tokens in table["tokens"]])[["id", "text", "origin", "made", "tokens"]]

    @property
    def stats(self) -> dict[str, Any]:
        """Passages, tokens, attention calls kept, keys and states in all, bytes on disk, and the model."""
        table, about = self.passages, self._store.about
        calls, tokens = len(about.get("calls", [])), int(table["tokens"].sum())
        heads = sum(heads for *_, heads, _ in about.get("calls", []))
        return {
            "passages": len(table),
            "tokens": tokens,
            "calls": calls,
            "keys": tokens * heads,
            "states": self._store.count(STATES),
            "bytes": sum(file.stat().st_size for file in self._store.folder.rglob("*") if file.is_file()),
            "model": about.get("model", ""),
        }

    def search(self, query: str, *, top: int = 5) -> pd.DataFrame:
        """The passages nearest in meaning: cosine of sentence embeddings (MiniLM, all-MiniLM-L6-v2).

        Returns:
            `id, text, origin, cosine`, nearest first.

        Raises:
            InputError: nothing to look for, or `top` is no number from 1 up.
            ModelNotFoundError: the sentence model cannot be had.

        Misleads: the sentence model reads the first 256 tokens of a passage.
        """
        if not isinstance(query, str) or not query.strip():
            raise InputError(f"memory.search({query!r}): give a text to look for")
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise InputError(f"memory.search(top={top!r}): a whole number from 1 up")
        self._understand()
        table, known = listed(self._store, None), self._store.rows(MEANINGS)
        if known is None or table.empty:
            return pd.DataFrame(columns=["id", "text", "origin", "cosine"])
        places = {one: place for place, one in enumerate(known.column("passage").to_pylist())}
        rows = numbers(known.column("vector"))[[places[one] for one in table["id"] if one in places]]
        table = table[table["id"].isin(places)].assign(cosine=rows @ meanings([query])[0])
        return table.nlargest(top, "cosine", keep="all").head(top)[["id", "text", "origin", "cosine"]].reset_index(drop=True)

    def collection(self, query: str | Sequence[str], *, top: int = 5) -> Collection:
        """Some of its passages as a source of its own: those nearest in meaning to a text, or those of these ids.

        Raises:
            InputError: as `search`; no passage of an id; none at all.
        """
        if not isinstance(query, str | Sequence):
            raise InputError(f"memory.collection({query!r}): give a text to look for, or a list of ids")
        ids = self.search(query, top=top)["id"].tolist() if isinstance(query, str) else list(query)
        self._known(ids)
        if twice := [one for one, often in Counter(ids).items() if often > 1]:
            raise InputError(f"memory.collection([...]): {twice[0]!r} is named twice: a passage is heard once")
        if not ids:
            raise InputError(f"memory.collection({query!r}): there is no passage to collect")
        return Collection(self._store, listed(self._store, ids))

    def shuffled(self, seed: int = 0) -> Collection:
        """All passages as they are now, each token telling what another one would tell: see `Collection.shuffled`.

        Raises:
            InputError: an empty memory.
        """
        if not len(self):
            raise InputError(f"{self!r} is empty: add a passage before it is shuffled")
        return Collection(self._store, listed(self._store, None)).shuffled(seed)

    def heard_by(self, model: Model) -> Collection:
        """All passages as they are now, as a source for this model: what `edits.attend(source=memory)` listens to.

        Raises:
            InputError: an empty memory, or one of another model, with what tells them apart.
        """
        check(self._store, model)
        return Collection(self._store, listed(self._store, None)).heard_by(model)

    def _known(self, ids: Sequence[str]) -> None:
        if odd := [one for one in ids if not isinstance(one, str)]:
            raise InputError(f"{odd[0]!r} is no passage's id: memory.passages lists those there are")
        there = set(listed(self._store, None)["id"])
        if missing := [one for one in ids if one not in there]:
            raise InputError(f"no passage {missing[0]!r} in {self._store.folder}: memory.passages lists those there are")

    def _understand(self) -> None:
        """Sentence embeddings of the passages that have none yet."""
        import pyarrow as pa

        new = self._not_understood()
        if new.empty:
            return
        found = dict(zip(new["id"], meanings(new["text"].tolist()), strict=True))
        with self._store.writing():
            still = [one for one in self._not_understood()["id"] if one in found]  # another one may have been quicker
            if still:
                rows = vectors(np.stack([found[one] for one in still]))
                self._store.add(MEANINGS, pa.table({"passage": still, "vector": rows}))

    def _not_understood(self) -> pd.DataFrame:
        known = self._store.rows(MEANINGS, ["passage"])
        done = set() if known is None else set(known.column("passage").to_pylist())
        table = listed(self._store, None)
        return table[~table["id"].isin(done)]

    def __fspath__(self) -> str:
        """Its folder, by which edits that listen to it are stored."""
        return str(self._store.folder)

    def __len__(self) -> int:
        """How many passages it holds."""
        return self._store.count(PASSAGES)

    def __repr__(self) -> str:
        """Where, and how much."""
        return f"Memory({str(self._store.folder)!r}: {len(self)} passages)"


def _row(passage: Passage) -> Any:
    import pyarrow as pa

    return pa.table(
        {
            "id": [passage.id],
            "text": pa.array([passage.text], pa.string()),
            "origin": pa.array([passage.origin], pa.string()),
            "made": [datetime.now(UTC).isoformat(timespec="microseconds")],
            "tokens": [list(passage.tokens)],
            "positions": [passage.positions.tolist()],
        }
    )
