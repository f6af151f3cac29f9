"""Errors that users meet. Each message names the call, the values at fault, the cause and the way out."""


class SociogramError(Exception):
    """Base of every error that Sociogram raises on purpose; the command line prints it without a traceback."""


class ModelNotFoundError(SociogramError):
    """A model name, folder or file that cannot be opened, with what was sought and the ways out."""


class UnsafeModelError(SociogramError):
    """Weights or code that would run foreign code on loading: pickles and remote code are refused."""


class UnsupportedModelError(SociogramError):
    """A model whose attention does not pass through the seam, with the reason."""


class InputError(SociogramError, ValueError):
    """An input (prompt, ids, token, layer, head) that does not fit the model or the recording."""


class MemoryLimitError(SociogramError):
    """A recording that would not fit; says how much it needs and what to drop."""


class AccountError(SociogramError):
    """An account that does not add up to the model's own numbers, with the layer and the part at fault."""


class RecordingError(SociogramError):
    """A stored recording that cannot be opened or does not belong to the model it is opened with."""


class MissingExtraError(SociogramError, ImportError):
    """A part of Sociogram that needs a package which is not installed; says how to install it."""


class EditDidNotLand(SociogramError):  # noqa: N818 - what happened, in the words users search for
    """An edit that addresses no entry that exists; says which and why. Nothing was changed in silence."""
