"""The error that a caller's input causes, as against a bug."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: one sentence that names the thing and what is accepted.

    The command line prints the sentence and exits with 2; any other exception is a bug and shows
    its traceback.
    """
