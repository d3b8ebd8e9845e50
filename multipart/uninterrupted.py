"""Waiting for something to its end, whatever happens to the one who waits.

A request that is cancelled must not leave a thread writing behind its back, nor a commit half watched. The backends
need the same, so it is theirs; the layers above, which do not know them, have it from here.
"""

from backends.base import ended, to_its_end

__all__ = ["ended", "to_its_end"]
