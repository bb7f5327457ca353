"""What a fault may not do. Each kind is counted in the table."""


class LostError(AssertionError):
    """A user without a list, a damaged file, a night that cannot be finished, or lists of other content."""


class MixtureError(AssertionError):
    """A reader saw files of two nights, or a file that is not whole."""


class TracebackError(AssertionError):
    """An error without an explanation: a traceback, an exit code that is not documented, or another output."""
