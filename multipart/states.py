"""The life of one upload session, as a table.

All states and all moves are here, and only here. No HTTP, no file and no catalog is known here, so the whole life can
be tested without any of them.

    OPEN --RECEIVE--> OPEN --FINISH--> SEALING --STORED--> DONE
      |                                   |
      |                                   +--FAILED--> OPEN      the disk was full: nothing is lost, try again
      |                                   +--REFUSED--> GONE     the digest does not match
      +--CANCEL--> GONE                   |
      +--EXPIRE--> GONE                   +--ASSEMBLE--> ASSEMBLED --PUBLISH--> PUBLISHING --STORED--> DONE
                                                           |                        |
                                                           +--CANCEL--> GONE        +--FAILED--> ASSEMBLED
                                                           +--EXPIRE--> GONE        +--REFUSED--> GONE

Receiving in sequence and receiving numbered parts are the same event: what differs is only where the bytes go. Only
sessions in parts are ever ASSEMBLED: whole, but unseen under a temporary name until somebody says the digest (H110).
"""

from enum import Enum
from typing import Final

from model.errors import Conflict


class State(Enum):
    """Where a session stands."""

    OPEN = "open"
    SEALING = "sealing"
    ASSEMBLED = "assembled"
    PUBLISHING = "publishing"
    DONE = "done"
    GONE = "gone"


class Event(Enum):
    """What can happen to a session."""

    RECEIVE = "receive"
    FINISH = "finish"
    ASSEMBLE = "assemble"
    PUBLISH = "publish"
    STORED = "stored"
    FAILED = "failed"
    REFUSED = "refused"
    CANCEL = "cancel"
    EXPIRE = "expire"


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.OPEN: {
        Event.RECEIVE: State.OPEN,
        Event.FINISH: State.SEALING,
        Event.CANCEL: State.GONE,
        Event.EXPIRE: State.GONE,
    },
    State.SEALING: {
        Event.ASSEMBLE: State.ASSEMBLED,
        Event.STORED: State.DONE,
        Event.FAILED: State.OPEN,
        Event.REFUSED: State.GONE,
    },
    State.ASSEMBLED: {
        Event.PUBLISH: State.PUBLISHING,
        Event.CANCEL: State.GONE,
        Event.EXPIRE: State.GONE,
    },
    State.PUBLISHING: {
        Event.STORED: State.DONE,
        Event.FAILED: State.ASSEMBLED,
        Event.REFUSED: State.GONE,
    },
    State.DONE: {},
    State.GONE: {},
}


class WrongState(Conflict):
    """The session is in a state that does not allow this."""


def after(state: State, event: Event) -> State:
    """The state that follows `event`, or WrongState; never changes anything itself."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise WrongState(f"an upload session that is {state.value} cannot {event.value}") from None
