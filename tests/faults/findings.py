"""What a fault may not do; each kind is counted in the table. And what shows that there was no fault."""


class LostError(AssertionError):
    """A user without a list, a damaged file, a night that cannot be finished, or lists of other content."""


class MixtureError(AssertionError):
    """A reader saw files of two nights, or a file that is not whole."""


class TracebackError(AssertionError):
    """An error without an explanation: a traceback, an exit code that is not documented, or another output."""


class MissedError(AssertionError):
    """Not a finding: the work was over before the fault could be made, so the try is made again."""
