"""Who may do what, decided in one place: a pure function of principal, action and repository (D11)."""

from collections.abc import Callable
from enum import Enum

from auth.principals import Principal
from model import names


class Action(Enum):
    """What somebody wants to do with a repository; `CATALOG` and `PING` concern none."""

    PING = "ping"
    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    CATALOG = "catalog"
    HOLD = "hold"
    """Writing through the hold API, asked on start, URL, part, complete, abort, move (H020, H036, H145-H147, T06)."""


class Decision(Enum):
    """What comes of it."""

    ALLOW = "allow"
    DENY = "deny"
    """Not to this caller; who is nobody in particular may be somebody after proving it."""
    CLOSED = "closed"
    """Not from there, and nothing the caller could prove would change it."""
    HIDE = "hide"
    """The caller is not even told whether the repository exists."""


Policy = Callable[[Principal, Action, str], Decision]


def policy_of(*, hold_token_set: bool) -> Policy:
    """The policy of a registry without accounts.

    Whoever reaches it may do everything through the OCI face. Writing through the hold API takes the operator's secret
    where there is one, else it is open to this machine alone. Hidden repositories are their owners'; nobody who is
    anonymous owns one from afar, since those are not one and the same.
    """

    def decide(principal: Principal, action: Action, repository: str) -> Decision:
        if principal.by_url:
            return Decision.ALLOW  # the signature covers method, path and parameters: what it allows is this request
        if action is Action.HOLD and not (principal.trusted if hold_token_set else principal.local):
            return Decision.DENY if hold_token_set else Decision.CLOSED
        if names.is_hidden(repository) and not _owns(principal, repository):
            return Decision.HIDE
        return Decision.ALLOW

    return decide


def _owns(principal: Principal, repository: str) -> bool:
    mine = names.hidden_repository(principal.name) == repository
    return mine and (principal.local or not principal.anonymous)
