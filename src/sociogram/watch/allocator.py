"""What the layers of a long text left behind in the C library's allocator."""

from __future__ import annotations

import ctypes

MANY = 512
"""Passes of fewer tokens leave little behind."""


def give_back(tokens: int) -> None:
    """Let the C library return freed memory to the system before more is asked for; nothing where it cannot (other than glibc).

    Tensors of some megabytes are freed into glibc's heap and stay in the process. After the layers of 2,048 tokens that is 50 to
    100 MB, which the logits, asked for afresh, would come on top of.
    """
    if tokens < MANY:
        return
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # TypeError: no such handle on Windows
        return
    trim(0)
