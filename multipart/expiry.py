"""Which sessions are too old: counted from the last byte or request, never from the start (H064, rule 15)."""


def is_expired(*, touched_at_s: float, now_s: float, expiry_s: float) -> bool:
    """Whether a session last touched at `touched_at_s` has been idle for longer than `expiry_s`.

    A clock that was set back makes sessions younger, never older.
    """
    return now_s - touched_at_s > expiry_s
