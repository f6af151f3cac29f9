"""A recording: labelled arrays of one run, and the questions they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, final

import numpy as np
import torch
import xarray as xr

from sociogram.watch.access import check_index
from sociogram.watch.arrays import Address, Arrays

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from sociogram.watch.audit import Audit
    from sociogram.watch.flock import Flock
    from sociogram.watch.selection import Selection
    from sociogram.watch.worksheet import Worksheet


@final
class Recording(Arrays):
    """One run of a model: where each token was at each stop, and every entry that moved it.

    Attributes:
        tree: an `xarray.DataTree`, one node per stack of layers (and one per cross-attention); dims are named, token-token
            arrays are `[..., query, key]`.
        model: the model, where it is at hand; questions that need its output projections ask for it.
        shown: what the observed run gave out (logits, or hidden states), kept for short prompts to compare with the plain run.
    """

    def audit(self) -> Audit:
        """Prove that the entries add up to the model's own residual stream; see `watch.audit`.

        Raises:
            AccountError: they do not; names the layer and the missing part.
            RecordingError: what is needed was not kept, or the output projections need the model.
        """
        from sociogram.watch.audit import audit

        return audit(self)

    def edges(
        self,
        weight: str = "message",
        *,
        top: int | None = 20,
        layer: int | None = None,
        head: int | None = None,
        query: Address | None = None,
        key: Address | None = None,
        drop_first: bool = False,
        toward: str | int | None = None,
        group: str = "token",
        stack: str | None = None,
    ) -> pd.DataFrame:
        """The strongest messages; see `watch.edges.edges`."""
        from sociogram.watch.edges import edges

        return edges(
            self, weight, top=top, layer=layer, head=head, query=query, key=key,
            drop_first=drop_first, toward=toward, group=group, stack=stack or self.main,
        )  # fmt: skip

    def message(self, layer: int, head: int, query: Address, key: Address, *, stack: str | None = None) -> np.ndarray:
        """What `key` told `query` in one head, as a vector `[d_model]` that was added to the reader's stream.

        Raises:
            InputError: a layer, head or token that does not exist.
            RecordingError: values or projections were not kept and the model is not at hand.
        """
        name = stack or self.main
        messages = self.messages(layer, stack=name)
        place = (
            check_index("head", head, messages.weights.shape[0]),
            self.find("query", query, stack=name),
            self.find("key", key, stack=name),
        )
        vector = messages.vectors(*(torch.tensor([i]) for i in place))[0]
        return vector.numpy()

    def moves(self) -> pd.DataFrame:
        """How far each token moved in each layer, and by whom; see `watch.moves.moves`."""
        from sociogram.watch.moves import moves

        return moves(self)

    def interference(self, *, by: str = "layer", pairs: bool = False) -> pd.DataFrame:
        """How far the voices that a steered run heard agree or cancel; see `watch.interference.interference`."""
        from sociogram.watch.interference import interference

        return interference(self, by=by, pairs=pairs)

    def senders(self) -> pd.DataFrame:
        """How much each token told all others; see `watch.senders.senders`."""
        from sociogram.watch.senders import senders

        return senders(self)

    def select(
        self,
        weights: tuple[str, ...] | None = None,
        *,
        toward: str | int | None = None,
        budget: int = 50_000,
        per_reader: int = 8,
    ) -> Selection:
        """The strongest edges under several weights at once, with totals of all; see `watch.selection.select`."""
        from sociogram.watch.selection import select

        return select(self, weights, toward=toward, budget=budget, per_reader=per_reader)

    def dense(
        self,
        queries: Sequence[Address] | slice,
        *,
        layers: Sequence[int] | None = None,
        stack: str | None = None,
        memory_limit: int | None = None,
    ) -> xr.Dataset:
        """All weights of a few readers, by running the model once more; see `watch.dense.dense`."""
        from sociogram.watch.dense import dense

        return dense(self, queries, layers=layers, stack=stack, memory_limit=memory_limit)

    def lens(self, *, stops: Sequence[int] | None = None, queries: Sequence[Address] | None = None, top: int = 1) -> xr.Dataset:
        """What the model would say of each token at each stop; see `watch.lens.lens`."""
        from sociogram.watch.lens import lens

        return lens(self, stops=stops, queries=queries, top=top)

    def flock(
        self,
        view: str | None = None,
        *,
        components: int = 16,
        basis: Flock | None = None,
        axes: Mapping[str, ArrayLike] | Sequence[tuple[str, ArrayLike]] | None = None,
        align: str | None = None,
        stack: str | None = None,
        null: int = 20,
        seed: int = 0,
        neighbours: int = 5,
    ) -> Flock:
        """The tokens as points that move from stop to stop, in one linear projection; see `watch.flock.flock`."""
        from sociogram.watch.flock import flock

        return flock(
            self, view, components=components, basis=basis, axes=axes, align=align, stack=stack,
            null=null, seed=seed, neighbours=neighbours,
        )  # fmt: skip

    def unembedding_axis(self, token: str | int, minus: str | int | None = None) -> tuple[str, np.ndarray]:
        """Label and direction of a token's logit, or of its difference from another's; see `watch.axes.unembedding_axis`."""
        from sociogram.watch.axes import unembedding_axis

        return unembedding_axis(self, token, minus)

    def head_axis(self, layer: int, head: int, side: str = "write") -> tuple[str, np.ndarray]:
        """Label and direction that a head writes or reads most strongly; see `watch.axes.head_axis`."""
        from sociogram.watch.axes import head_axis

        return head_axis(self, layer, head, side)

    def attribution(self, token: str | int, *, query: Address = -1) -> pd.DataFrame:
        """What each entry of the account adds to one token's logit; see `watch.toward.attribution`."""
        from sociogram.watch.toward import attribution

        return attribution(self, token, query=query)

    def worksheet(self, layer: int, head: int, query: Address) -> Worksheet:
        """The arithmetic of one head for one reader, cell by cell; see `watch.worksheet`."""
        from sociogram.watch.worksheet import worksheet

        return worksheet(self, layer, head, query)

    def predictions(self, top: int = 5) -> pd.DataFrame:
        """What the model says next: the `top` tokens after the last one, with their probabilities.

        Raises:
            RecordingError: the model gives no logits per token, or the recording was opened from disk without them.
        """
        from sociogram.watch.predictions import predictions

        return predictions(self, top)

    def null_drift(self) -> float:
        """Largest absolute difference between the logits (or last hidden state) of a recorded and of a plain run."""
        from sociogram.watch.predictions import null_drift

        return null_drift(self)

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Store as a Zarr folder; see `watch.stored.save`."""
        from sociogram.watch.stored import save

        save(self, path, overwrite=overwrite)
