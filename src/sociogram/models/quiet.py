"""Other libraries' log lines, warnings and progress bars, held back while Sociogram calls them."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*, stderr: bool = False) -> Iterator[None]:
    """Hold back what transformers and huggingface_hub would print, and restore their settings afterwards.

    Python warnings, log lines below an error and progress bars are held back; exceptions pass as ever. What a caller
    must know (weights that a checkpoint lacks, say) is therefore for the caller to check and to say.

    Args:
        stderr: hold back everything written to `sys.stderr` as well, for code that draws its own progress bar.

    The settings belong to the process: another thread that loads at the same time is quiet too.
    """
    from transformers.utils import logging as hf_logging

    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bars = hf_logging.is_progress_bar_enabled()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if stderr:
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            hf_logging.disable_progress_bar()
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                hf_logging.enable_progress_bar()
