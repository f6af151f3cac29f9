"""The recorded run once more, watched for what was not kept of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sociogram.core.errors import RecordingError
from sociogram.models.attention import AttentionCall
from sociogram.models.seam import watching
from sociogram.watch.passes import Course
from sociogram.watch.scores import check_rerun

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording


def check_again(rec: Recording, call: str) -> None:
    """Refuse where another run would not be the one that was recorded.

    Raises:
        RecordingError: the model or the edits are not at hand, or the text was read otherwise than it would be now.
    """
    if rec.model is None:
        raise RecordingError(f"{call} runs the model again: open the recording with sg.open_recording(path, model=...)")
    check_rerun(rec, call)
    if not rec.tree.attrs.get("as_read_whole", True):
        raise RecordingError(
            f"{call} reads the text once more, and {rec.model.name} does not decode from its cache what it reads at once: its "
            'weights while it wrote would be others. Record with generate= and "weights" in keep instead'
        )


class Again(ABC):
    """An observer of one more run, with the edits and in the passes of the recorded one.

    Attributes:
        rec: the recording.
        past: how many tokens were read in earlier passes.
    """

    def __init__(self, rec: Recording) -> None:
        """Of a recording that `check_again` lets through."""
        self.rec, self.past = rec, 0

    def run(self) -> None:
        """Run the model."""
        rec = self.rec
        assert rec.model is not None
        inputs = dict(rec.inputs)
        chunk = int(rec.tree.attrs.get("chunk", 0))
        editors = () if rec.editors is None else rec.editors(inputs)
        with torch.no_grad(), watching(rec.model.hf, [self], editors) as session:
            seen = 0

            def begin(_: Any, kwargs: Mapping[str, Any]) -> None:
                nonlocal seen
                self.past = seen
                seen += kwargs["input_ids"].shape[1] if chunk else 0

            session.on_input("", begin)
            Course(rec.model, inputs, chunk=chunk).run()

    def wants_weights(self, call: AttentionCall) -> bool:
        """Never: all of them would be too many."""
        return False

    @abstractmethod
    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        """One attention call as it happened."""
