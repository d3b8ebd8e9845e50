"""What can end a push or a pull, or make it try again.

Problem                 told to the person in one or two lines
├── Passing             trying again may help
│   ├── LineBroken      the connection broke
│   │   └── Unreachable  or there never was one
│   ├── Busy            the server says "later" (408, 425, 429, 5xx)
│   └── Damaged         other bytes arrived than were sent
├── Untrusted           TLS does not show who is there
├── Refused             the server says no, and would say it again
├── SessionGone         the upload is not there any more; begun anew by who meets it
├── PartsRefused        this server takes no parts from us; plain OCI is the way then
├── SourceChanged       the file is not what it was when the push began
└── Closed              a second commit, or a part after it: a mistake of ours (H114)

None of these is a RegistryError: they are about a registry, not from ours.
"""


class Problem(Exception):
    """What could not be done and why, and, where there is one, what to do about it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = printable(message)
        self.remedy = remedy
        super().__init__(f"{self.message}\n{remedy}" if remedy else self.message)


class Passing(Problem):
    """It may work when it is tried again, after `retry_after_s` if the server said so."""

    retry_after_s: float | None = None


class LineBroken(Passing):
    """No connection, or one that broke or went silent."""


class Unreachable(LineBroken):
    """Nobody answers there: no route, no such name, no such port, or a firewall that says nothing."""


class Untrusted(Problem):
    """Whoever is there does not prove by TLS to be who it should be; nothing was sent."""


class Busy(Passing):
    """The server cannot do it now."""

    def __init__(self, message: str, status: int, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Damaged(Passing):
    """What arrived is not what was sent."""


class Refused(Problem):
    """The server understood and said no."""

    def __init__(self, message: str, status: int, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.status = status


class SessionGone(Problem):
    """The server does not know the upload any more."""


class PartsMissing(Problem):
    """The server cannot complete the upload: parts are missing, or are others than we say."""


class PartsRefused(Problem):
    """This server takes no parts from this caller."""


class SourceChanged(Problem):
    """What is being pushed was written to meanwhile."""


class Closed(Problem):
    """The upload is finished: nothing can be added and nothing committed again (H114)."""


def printable(text: str) -> str:
    """`text` without what a terminal would obey; much of it comes from the other side."""
    return "".join(char if char.isprintable() else " " for char in text)
