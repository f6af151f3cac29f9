"""Changing what goes into or comes out of modules at the sites of an anatomy, while the model's own forward pass runs.

Nothing is written in place: the tuple, dict or output object around a changed tensor is made anew, and whoever held the old one
keeps it as it was.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sociogram.core.errors import AccountError

if TYPE_CHECKING:
    from sociogram.models.seam import Session
    from sociogram.models.trace import Site

Change = Callable[[Tensor], Tensor]
"""What to put in a tensor's place; a function that only looks returns the tensor itself."""


class Doors:
    """Who changes or looks at the values at which sites in one session, and how often each module was called in this pass.

    Attributes:
        originals: site -> the value before it was changed, for the observers of this pass, who take out what they have read;
            empty where nobody observes.
    """

    def __init__(self, session: Session) -> None:
        """Nobody stands at any door yet."""
        self._session = session
        self._calls: Counter[str] = Counter()
        self._at: dict[tuple[str, str], list[tuple[Site, Change, bool]]] = {}
        self.originals: dict[Site, Tensor] = {}

    def change(self, site: Site, by: Change, *, explained: bool = False) -> None:
        """Put `by(value)` in place of the value at a site in every pass, before any hook registered later sees it.

        Several changes at one site act in the order in which they came. Sites count calls, so that one of the layers that share
        a module can be meant; the count begins anew with each pass of the whole model. What is `explained` in another way (by
        the messages of a grafted head) is no entry of its own in an observer's account.
        """
        if (site.path, "in") not in self._at:
            self._open(site.path)
        self._at[site.path, site.end].append((site, by, explained))

    def new_pass(self) -> None:
        """Calls are counted anew."""
        self._session.calls.clear()
        self._calls.clear()
        self.originals.clear()

    def _open(self, path: str) -> None:
        self._at[path, "in"], self._at[path, "out"] = [], []
        module = self._session.model.get_submodule(path)

        def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not self._session.is_active():
                return None
            self._calls[path] += 1
            return self._pass(path, "in", (args, kwargs))

        def after(_: Any, __: tuple[Any, ...], output: Any) -> Any:
            return self._pass(path, "out", output) if self._session.is_active() else None

        self._session.hooks.append(module.register_forward_pre_hook(before, with_kwargs=True))
        self._session.hooks.append(module.register_forward_hook(after))

    def _pass(self, path: str, end: str, value: Any) -> Any:
        """The value with what is changed in it, or None where nothing is."""
        changed = value
        for site, by, explained in self._at[path, end]:
            if site.number == self._calls[path] - 1:
                changed = self._changed(site, by, changed, explained)
        return None if changed is value else changed

    def _changed(self, site: Site, by: Change, value: Any, explained: bool) -> Any:
        try:
            old = _at_slot(value, site.slot)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise AccountError(
                f"{site.path} was called in another form than when the anatomy was found (nothing at {site.slot}, {site.end}), "
                "so its value cannot be changed there. Run the same kind of input that the anatomy was made for."
            ) from error
        new = by(old)
        if new is old:
            return value
        if self._session.observers and not explained:
            self.originals.setdefault(site, old)
        return replaced(value, site.slot, new)


def _at_slot(value: Any, slot: tuple[int | str, ...]) -> Tensor:
    for step in slot:
        value = value[step]
    if not isinstance(value, Tensor):
        raise TypeError(f"a {type(value).__name__}, no tensor")
    return value


def replaced(value: Any, slot: tuple[int | str, ...], new: Tensor) -> Any:
    """Nested tuples, lists, dicts and output objects with another tensor at an address; the containers on the way are copies."""
    if not slot:
        return new
    step, inner = slot[0], replaced(value[slot[0]], slot[1:], new)
    if isinstance(value, tuple):
        items = [inner if i == step else item for i, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    fresh = copy.copy(value)
    fresh[step] = inner
    return fresh
