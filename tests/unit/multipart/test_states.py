"""The life of an upload session, whatever events come in whatever order."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import multipart.states
from multipart.states import TRANSITIONS, Event, State, WrongState, after

EVENTS = st.lists(st.sampled_from(list(Event)))
ENDED = {State.DONE, State.GONE}


@given(EVENTS)
def test_an_upload_that_is_done_or_gone_never_moves_again(events):
    state = State.OPEN
    for event in events:
        try:
            following = after(state, event)
        except WrongState:
            following = state
        assert state not in ENDED or following is state
        state = following


def test_every_state_has_its_row_and_every_event_its_use():
    assert set(TRANSITIONS) == set(State)
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)


@pytest.mark.parametrize("state", [State.SEALING, State.DONE, State.GONE])
def test_bytes_are_received_only_while_open(state):
    with pytest.raises(WrongState):
        after(state, Event.RECEIVE)


def test_only_a_stored_blob_makes_an_upload_done():
    ways = {(state, event) for state, row in TRANSITIONS.items() for event, to in row.items() if to is State.DONE}
    assert ways == {(State.SEALING, Event.STORED), (State.PUBLISHING, Event.STORED)}


def test_the_drawing_in_the_header_is_the_table():
    drawing = multipart.states.__doc__ or ""
    drawn = set(re.findall(r"--([A-Z]+)-->", drawing))
    assert drawn == {event.name for event in Event}
    assert Path(multipart.states.__file__).read_text().count("State.GONE,") == 6
