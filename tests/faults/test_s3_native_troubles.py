"""A store that is ill while clients put parts into it themselves: at the start, the listing, the completion, the proof.

What happens once nobody notices. What lasts is said soon, the session stays as it was, and the same request succeeds
when it is over; a start that the store does not take goes on through us.
"""

import json
from collections.abc import Iterator

import pytest

from tests.faults.client import Answer, digest, noise
from tests.faults.hold import Hold, cut, etags
from tests.faults.s3 import BUSY_S, MIB, Site, in_the_end, in_time, is_unavailable, site_over
from tests.faults.s3_deaths import named
from tests.interop.native import store_put
from tests.support.objectstore import ObjectStore
from tests.support.storefaults import LASTING, ONCE, Call, Short

REPOSITORY = "ill/native"
PART = 5 * MIB
STEPS = ((Call.LIST_PARTS, 0), (Call.LIST_PARTS, 1), (Call.COMPLETE, 0), (Call.GET, 0), (Call.GET, 1))
"""What a completion asks of the store, in this order, and how many such calls are before: what parts there are, and
again when nobody writes any more; to assemble them; how long the object is, and its bytes, which are hashed."""

EACH = (Call.CREATE, Call.LIST_PARTS, Call.COMPLETE, Call.GET, Call.COPY, Call.DELETE)


@pytest.fixture(scope="module")
def shared(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_over(object_store, tmp_path_factory.mktemp("ill-native"), native=True) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """The registry as it should be, before the test and after it."""
    shared.well()
    yield shared
    shared.well()


def start(client: Hold, content: bytes, mode: str | None = None) -> Answer:
    """Open a session for that content."""
    said = {"digest": digest(content), "repository": REPOSITORY, "size": len(content), "part_size": PART}
    return client.post("/start-multipart", **said, mode=mode)


def told(answer: Answer, word: str) -> str:
    """What the answer to a start says."""
    said: str = json.loads(answer.expect(200).body)[word]
    return said


class Upload:
    """A native session whose parts are all in the store."""

    def __init__(self, client: Hold, name: str) -> None:
        self.client, self.content = client, noise(name, 2 * PART + 77)
        answer = start(client, self.content)
        assert told(answer, "mode") == "native"
        self.id = told(answer, "upload_id")
        parts = cut(self.content, PART)
        self.etags = {number: store_put(client, self.id, number, part, False) for number, part in parts.items()}

    def complete(self) -> Answer:
        """Its completion, which can be asked again."""
        return self.client.complete(self.id, digest(self.content), self.etags)

    def is_there(self) -> bool:
        """Whether the blob can be read, with the right bytes."""
        return self.client.has_whole(REPOSITORY, self.content)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("what", ONCE)
def test_what_happens_once_at_each_step_of_a_native_upload_no_client_notices(site: Site, what: str) -> None:
    """H088, H170, C07: the start stays native, the completion succeeds, and nothing is left behind."""
    rules = {call: site.proxy.on(ONCE[what], call, times=1) for call in EACH}
    upload = Upload(site.client, f"once {what}")
    upload.complete().expect(200)
    assert upload.is_there()
    site.settled()
    assert [call for call, rule in rules.items() if not rule.struck] == []


@pytest.mark.one_in(11)
@pytest.mark.parametrize("what", [*LASTING, "answer short"])
@pytest.mark.parametrize(("call", "skip"), STEPS, ids=named)
def test_what_lasts_at_a_step_of_a_native_completion_is_said_soon_and_the_same_request_succeeds_later(
    site: Site, call: Call, skip: int, what: str
) -> None:
    """H088, C07: nothing is visible meanwhile, and the session keeps its parts."""
    upload = Upload(site.client, f"{what} {call} {skip}")
    rule = site.proxy.on(LASTING.get(what, Short()), call, skip=skip)
    answer = in_time(upload.complete, within_s=BUSY_S)
    rule.reached()
    is_unavailable(site, answer, status=507 if what == "full" else 503)
    assert not upload.is_there()
    site.in_order()
    site.proxy.drop(rule)
    in_the_end(upload.complete, 200)
    assert upload.is_there()
    site.settled()


def test_a_proof_goes_on_from_where_the_store_broke_off(site: Site) -> None:
    """C07: read in pieces of what it gives at a time, the bytes are those of the digest all the same."""
    upload = Upload(site.client, "in pieces")
    rule = site.proxy.on(Short(after_bytes=3 * MIB), Call.GET)
    upload.complete().expect(200)
    assert rule.struck >= 4
    site.proxy.drop(rule)
    assert upload.is_there()
    site.settled()


@pytest.mark.one_in(5)
@pytest.mark.parametrize("what", LASTING)
def test_a_native_start_that_the_store_does_not_take_goes_through_us_unless_the_client_insists(
    site: Site, what: str
) -> None:
    """H042, H047, H051: in the same request; who insists hears that the store cannot now."""
    rule = site.proxy.on(LASTING[what], Call.CREATE)
    content, other = noise(("fallen back", what), PART + 77), noise(("insisting", what), PART + 77)
    answer = in_time(lambda: start(site.client, content), within_s=BUSY_S)
    rule.reached()
    assert told(answer, "mode") == "buffered"
    upload_id, parts = told(answer, "upload_id"), cut(content, PART)
    site.client.send_all(upload_id, parts)
    insisting = in_time(lambda: start(site.client, other, "native"), within_s=BUSY_S)
    is_unavailable(site, insisting, status=507 if what == "full" else 503)
    site.proxy.drop(rule)
    in_the_end(lambda: site.client.complete(upload_id, digest(content), etags(parts)), 200)
    assert site.client.has_whole(REPOSITORY, content)
    begun = in_the_end(lambda: start(site.client, other, "native"), 200)
    assert told(begun, "mode") == "native"
    site.client.abort(told(begun, "upload_id")).expect(200)
    site.settled()
