"""The one door: an attention function and a mask function that transformers calls inside its own, unchanged forward pass.

Observers see every attention call of a run, editors change it. Who does lives in a ContextVar, so that threads and nested runs
never meet; the model is switched to our implementation only while a session is open and switched back in `finally`. With nobody
watching, a call goes straight to torch's own scaled_dot_product_attention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sociogram.core.errors import UnsupportedModelError
from sociogram.models.attending import attend
from sociogram.models.attention import AttentionCall, mix, weights_of
from sociogram.models.doors import Doors
from sociogram.models.masks import LazyMask
from sociogram.models.straight import straight
from sociogram.models.switching import switch_of


class Observer(Protocol):
    """Somebody who watches attention calls.

    An observer may also have `buffer(call) -> Tensor | None`: zeros `[batch, head, query, key]` into which the weights are
    put, so that whoever keeps them need not copy them; and `listen(call) -> Tensor | None`: the call's output, computed by the
    observer in a way of its own, where nobody needs the weights.
    """

    def wants_weights(self, call: AttentionCall) -> bool:
        """Whether this call's weights are needed; if nobody wants them they are never computed."""

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        """One call, as it happened: `weights` `[batch, head, query, key]` (or None), `output` `[batch, query, head, d_value]`."""


@runtime_checkable
class Editor(Protocol):
    """Somebody who changes attention calls, in order; observers see what came of it. With a method `attach(session)`, called
    on opening, an editor may change values outside attention too (`session.doors.change`).
    """

    def prepare(self, call: AttentionCall) -> AttentionCall:
        """The call as it shall be computed: its queries, keys, values, or what is cut, changed; or the call itself."""

    def wants_weights(self, call: AttentionCall) -> bool:
        """Whether `reweigh` is to be asked."""

    def reweigh(self, call: AttentionCall, weights: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The weights `[batch, head, query, key]` and sink weights that are to be used instead."""


@dataclass(eq=False)
class Session:
    """One run: who edits and who observes it, the names of its modules, and how often each has called in this pass."""

    model: nn.Module
    observers: tuple[Observer, ...]
    paths: dict[nn.Module, str]
    editors: tuple[Editor, ...] = ()
    calls: Counter[str] = field(default_factory=Counter)
    hooks: list[RemovableHandle] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nobody changes values outside attention yet."""
        self.doors = Doors(self)

    def is_active(self) -> bool:
        """Whether the code that asks runs inside this session (and not in another thread that shares the model)."""
        return _session.get() is self

    def on_input(self, path: str, hook: Callable[[tuple[Any, ...], dict[str, Any]], None]) -> None:
        """Call `hook(args, kwargs)` before each forward of the module at `path`, within this session only."""

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.is_active():
                hook(args, kwargs)

        module = self.model.get_submodule(path)
        self.hooks.append(module.register_forward_pre_hook(before, with_kwargs=True))

    def on_output(self, path: str, hook: Callable[[Any], None]) -> None:
        """Call `hook(output)` after each forward of the module at `path`, within this session only."""

        def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            if self.is_active():
                hook(output)

        self.hooks.append(self.model.get_submodule(path).register_forward_hook(after))

    def close(self) -> None:
        """Remove every hook."""
        for hook in self.hooks:
            hook.remove()


_session: ContextVar[Session | None] = ContextVar("sociogram_session", default=None)


def _scale(query: Tensor, scaling: float | Tensor | None) -> float:
    return float(scaling) if scaling is not None else query.shape[-1] ** -0.5


def attention_function(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Sociogram's attention function for transformers' `AttentionInterface`.

    A mask of None means that every query may read every key, whatever a module's `is_causal` flag says: our mask function
    returns None only there.
    """
    session = _session.get()
    path = "" if session is None else session.paths.get(module, "")
    number = 0 if session is None else session.calls[path]
    sink = kwargs.get("s_aux")
    call = AttentionCall(
        path=path,
        number=number,
        module=module,
        query=query,
        key=key,
        value=value,
        mask=attention_mask.settled() if isinstance(attention_mask, LazyMask) else attention_mask,
        scale=_scale(query, scaling),
        bias=kwargs.get("position_bias"),
        softcap=kwargs.get("softcap"),
        sink=kwargs.get("sinks") if sink is None else sink,
        indices=kwargs.get("indices"),
        dropout=dropout if module.training else 0.0,
        linear=bool(kwargs.get("linear", False)),
    )
    if session is None:
        return straight(call), None
    session.calls[path] += 1
    return _watched(session, call), None


def _watched(session: Session, call: AttentionCall) -> Tensor:
    for editor in session.editors:
        call = editor.prepare(call)
    changing = [editor for editor in session.editors if editor.wants_weights(call)]
    if changing:
        weights, sink = weights_of(call)
        for editor in changing:
            weights, sink = editor.reweigh(call, weights, sink)
        call = replace(call, reweighed=True)
        output = mix(weights, call)
    elif any(observer.wants_weights(call) for observer in session.observers):
        weights, sink, output = attend(call, _buffer(session, call))
    else:
        weights, sink, output = None, None, _listened(session, call)
    for observer in session.observers:
        observer.observe(call, weights, sink, output)
    return output


def _listened(session: Session, call: AttentionCall) -> Tensor:
    for observer in session.observers:
        listen = getattr(observer, "listen", None)
        if listen is not None and (output := listen(call)) is not None:
            return output
    return straight(call)


def _buffer(session: Session, call: AttentionCall) -> Tensor | None:
    for observer in session.observers:
        offer = getattr(observer, "buffer", None)
        if offer is not None and (buffer := offer(call)) is not None:
            return buffer
    return None


def _refuse_compiled(hf: Any) -> None:
    if hasattr(hf, "_orig_mod") or getattr(hf, "_compiled_call_impl", None) is not None:
        raise UnsupportedModelError(
            "The model is compiled (torch.compile): its attention calls are fused into code that no longer passes the seam. "
            "Give sg.load the model from before compiling."
        )


@contextmanager
def watching(hf: Any, observers: Sequence[Observer], editors: Sequence[Editor] = ()) -> Iterator[Session]:
    """Open a session on a transformers model: inside, each attention call of this context passes its editors and observers.

    Args:
        hf: the `PreTrainedModel`; its attention implementation is switched on entry and restored on exit, whatever happens.
        observers: who watches, in order.
        editors: who changes calls, in order.

    Raises:
        UnsupportedModelError: the model refuses foreign attention functions, or is compiled.
    """
    _refuse_compiled(hf)
    switch = switch_of(hf)
    session = Session(hf, tuple(observers), {module: name for name, module in hf.named_modules()}, tuple(editors))
    switch.on(hf, attention_function)
    token = _session.set(session)
    try:
        session.on_input("", lambda args, kwargs: session.doors.new_pass())  # generation is many passes
        for attach in filter(None, (getattr(editor, "attach", None) for editor in editors)):
            attach(session)
        yield session
    finally:
        _session.reset(token)
        session.close()
        switch.off()


@contextmanager
def unwatched() -> Iterator[None]:
    """Inside, this context's session sees nothing: for asking a module a question in the middle of a run."""
    token = _session.set(None)
    try:
        yield
    finally:
        _session.reset(token)
