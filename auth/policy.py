"""Who may do what, decided in one place: a pure function of principal, action and repository (D11)."""

from collections.abc import Callable
from enum import Enum

from auth.principals import Principal


class Action(Enum):
    """What somebody wants to do with a repository; `CATALOG` and `PING` concern none."""

    PING = "ping"
    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    CATALOG = "catalog"


class Decision(Enum):
    """What comes of it. HIDE: the caller is not even told whether the repository exists."""

    ALLOW = "allow"
    DENY = "deny"
    HIDE = "hide"


Policy = Callable[[Principal, Action, str], Decision]


def open_to_all(principal: Principal, action: Action, repository: str) -> Decision:
    """Everybody may do everything: the policy of a registry without accounts, reachable from where it listens."""
    return Decision.ALLOW
