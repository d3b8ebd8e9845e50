"""What a client was doing when the server died: how it begins, what must hold afterwards, and how the client retries.

Each scenario is prepared on a sound server; `act` is the request that dies; `check` looks at what a restart shows,
which is the old state or the new one and nothing else; `retry` does what a client does, and ends in the new state.
"""

from typing import ClassVar

from tests.faults.client import Client, digest, noise, with_digest

KIB = 1024


class Scenario:
    """Something that can be interrupted."""

    size_bytes: ClassVar[int] = 700 * KIB

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.repository = f"faults/{name}"
        self.content = noise(name, self.size_bytes)
        self.location = ""

    def prepare(self) -> None:
        """Up to the request that will die."""

    def act(self) -> None:
        """The request that dies."""
        raise NotImplementedError

    def check(self) -> None:
        """The old state or the new one."""
        raise NotImplementedError

    def retry(self) -> None:
        """As a client does it, to the new state."""
        raise NotImplementedError

    def check_upload(self, at_least: int, at_most: int) -> None:
        """The session is there with its bytes, or it became the blob."""
        status = self.client.request("GET", self.location).expect(204, 404)
        if self.client.has_whole(self.repository, self.content):
            assert status.status == 404, "the blob is visible, but its session is still open"
        else:
            assert status.status == 204, "neither the session nor the blob is there"
            assert at_least <= status.received_bytes <= at_most


class OnePut(Scenario):
    """POST, then one PUT with everything; the same PUT is repeated, as containerd does."""

    size_bytes = 1300 * KIB
    """Enough that room is reserved for it."""

    def prepare(self) -> None:
        self.location = self.client.open(self.repository)

    def act(self) -> None:
        self.client.finish(self.location, digest(self.content), self.content)

    def check(self) -> None:
        self.check_upload(0, len(self.content))

    def retry(self) -> None:
        self.client.finish(self.location, digest(self.content), self.content).expect(201)
        assert self.client.has_whole(self.repository, self.content)


class SecondChunk(Scenario):
    """A PATCH behind an acknowledged one; the client asks where the session stands, and goes on from there."""

    first: ClassVar[int] = 300 * KIB + 7

    def prepare(self) -> None:
        opened = self.client.open(self.repository)
        self.location = self.client.patch(opened, self.content[: self.first], 0).expect(202).location

    def act(self) -> None:
        self.client.patch(self.location, self.content[self.first :], self.first)

    def check(self) -> None:
        self.check_upload(self.first, len(self.content))

    def retry(self) -> None:
        status = self.client.request("GET", self.location).expect(204)
        start, location = status.received_bytes, status.location
        if start < len(self.content):
            location = self.client.patch(location, self.content[start:], start).expect(202).location
        self.client.finish(location, digest(self.content)).expect(201)
        assert self.client.has_whole(self.repository, self.content)


class FirstChunkStays(SecondChunk):
    """As before, but the client gives the second chunk up and closes what was acknowledged."""

    def retry(self) -> None:
        early = self.content[: self.first]
        again = self.client.patch(self.client.open(self.repository), early, 0).expect(202)
        self.client.finish(again.location, digest(early)).expect(201)
        assert self.client.has_whole(self.repository, early)
        self.client.request("DELETE", self.location).expect(204)


class ChunkedBody(SecondChunk):
    """The second chunk comes without a length."""

    def act(self) -> None:
        rest = self.content[self.first :]
        self.client.patch(self.location, iter([rest[:50_000], rest[50_000:200_000], rest[200_000:]]))


class Closing(Scenario):
    """The empty PUT at the end; everything was acknowledged before."""

    def prepare(self) -> None:
        self.location = self.client.patch(self.client.open(self.repository), self.content).expect(202).location

    def act(self) -> None:
        self.client.finish(self.location, digest(self.content))

    def check(self) -> None:
        self.check_upload(len(self.content), len(self.content))

    def retry(self) -> None:
        self.client.finish(self.location, digest(self.content)).expect(201)
        assert self.client.has_whole(self.repository, self.content)


class OtherRepositoryHasIt(Closing):
    """As before, with bytes that another repository has already."""

    def prepare(self) -> None:
        self.client.push("faults/first-owner", self.content)
        super().prepare()


class OnePost(Scenario):
    """POST with the digest and the whole body: nothing to resume."""

    def act(self) -> None:
        target = with_digest(f"/v2/{self.repository}/blobs/uploads/", digest(self.content))
        self.client.request("POST", target, self.content).expect(201)

    def check(self) -> None:
        self.client.has_whole(self.repository, self.content)

    def retry(self) -> None:
        self.act()
        assert self.client.has_whole(self.repository, self.content)


class GoingBack(Scenario):
    """The answer of a PATCH was lost, so the client sends other bytes to the Location before it."""

    def prepare(self) -> None:
        self.location = self.client.open(self.repository)
        self.client.patch(self.location, noise("lost", 500 * KIB)).expect(202)

    def act(self) -> None:
        self.client.patch(self.location, self.content)

    def check(self) -> None:
        self.client.request("GET", self.location).expect(204)

    def retry(self) -> None:
        answer = self.client.patch(self.location, self.content).expect(202)
        assert answer.received_bytes == len(self.content)
        self.client.finish(answer.location, digest(self.content)).expect(201)
        assert self.client.has_whole(self.repository, self.content)


class Opening(Scenario):
    """The POST that opens a session."""

    def act(self) -> None:
        self.client.open(self.repository)

    def check(self) -> None:
        assert not self.client.has_whole(self.repository, self.content)

    def retry(self) -> None:
        assert self.client.push(self.repository, self.content)
        assert self.client.has_whole(self.repository, self.content)


class Cancelling(Scenario):
    """The DELETE of a session."""

    def prepare(self) -> None:
        self.location = self.client.patch(self.client.open(self.repository), self.content).expect(202).location

    def act(self) -> None:
        self.client.request("DELETE", self.location)

    def check(self) -> None:
        status = self.client.request("GET", self.location).expect(204, 404)
        assert status.status == 404 or status.received_bytes == len(self.content)

    def retry(self) -> None:
        self.client.request("DELETE", self.location).expect(204, 404)
        self.client.request("GET", self.location).expect(404)


class FirstManifest(Scenario):
    """A manifest by a tag that is new: both appear, or none."""

    def prepare(self) -> None:
        self.manifest = self.client.image(self.repository, self.repository)

    def act(self) -> None:
        self.client.put_manifest(self.repository, "one", self.manifest).expect(201)

    def check(self) -> None:
        there = self.client.tagged(self.repository, digest(self.manifest))
        assert self.client.tagged(self.repository, "one") == there

    def retry(self) -> None:
        self.act()
        assert self.client.tagged(self.repository, "one") == digest(self.manifest)


class MovingTag(FirstManifest):
    """A tag that moves to another manifest: it points at the one or the other."""

    def prepare(self) -> None:
        super().prepare()
        self.old = self.client.image(self.repository, "old")
        self.client.put_manifest(self.repository, "one", self.old).expect(201)

    def check(self) -> None:
        assert self.client.tagged(self.repository, "one") in (digest(self.old), digest(self.manifest))
        assert self.client.tagged(self.repository, digest(self.old)) == digest(self.old)


class DeletingManifest(FirstManifest):
    """A manifest goes with its tags, or neither goes."""

    def prepare(self) -> None:
        super().prepare()
        for tag in ("one", "two"):
            self.client.put_manifest(self.repository, tag, self.manifest).expect(201)

    def act(self) -> None:
        self.client.request("DELETE", f"/v2/{self.repository}/manifests/{digest(self.manifest)}")

    def check(self) -> None:
        there = self.client.tagged(self.repository, digest(self.manifest))
        assert {self.client.tagged(self.repository, tag) for tag in ("one", "two")} == {there}

    def retry(self) -> None:
        self.client.request("DELETE", f"/v2/{self.repository}/manifests/{digest(self.manifest)}").expect(202, 404)
        assert self.client.tagged(self.repository, "one") is None


class DeletingTag(DeletingManifest):
    """One tag goes; the manifest and the other tag stay."""

    def act(self) -> None:
        self.client.request("DELETE", f"/v2/{self.repository}/manifests/one")

    def check(self) -> None:
        whole = digest(self.manifest)
        assert self.client.tagged(self.repository, "one") in (None, whole)
        assert self.client.tagged(self.repository, "two") == self.client.tagged(self.repository, whole) == whole

    def retry(self) -> None:
        self.client.request("DELETE", f"/v2/{self.repository}/manifests/one").expect(202, 404)
        assert self.client.tagged(self.repository, "one") is None


class DeletingBlob(Scenario):
    """A blob goes from one repository and stays in the other."""

    def prepare(self) -> None:
        self.client.push(self.repository, self.content)
        self.client.push("faults/other-owner", self.content)

    def act(self) -> None:
        self.client.request("DELETE", f"/v2/{self.repository}/blobs/{digest(self.content)}")

    def check(self) -> None:
        self.client.has_whole(self.repository, self.content)
        assert self.client.has_whole("faults/other-owner", self.content)

    def retry(self) -> None:
        self.client.request("DELETE", f"/v2/{self.repository}/blobs/{digest(self.content)}").expect(202, 404)
        assert not self.client.has_whole(self.repository, self.content)


class Mounting(Scenario):
    """A blob of another repository becomes visible here."""

    def prepare(self) -> None:
        self.client.push("faults/source", self.content)

    def act(self) -> None:
        target = f"/v2/{self.repository}/blobs/uploads/?mount={digest(self.content)}&from=faults/source"
        self.client.request("POST", target, b"").expect(201)

    def check(self) -> None:
        self.client.has_whole(self.repository, self.content)

    def retry(self) -> None:
        self.act()
        assert self.client.has_whole(self.repository, self.content)
