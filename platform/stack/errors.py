"""The failures a person can do something about: printed as they are, never as a traceback."""


class StackError(Exception):
    """An expected failure: its text is one sentence, with a log's last lines where they help."""


class StopRequestedError(Exception):
    """Ctrl-C or SIGTERM arrived while the stack was still starting."""
