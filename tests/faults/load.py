"""A mixed load whose every answer is written down, so that after a crash it is known what may be there and what must.

A worker owns a repository and does one thing at a time. For each thing that can be seen from outside it keeps the set
of states that are possible: one after an acknowledged request; the old and the new one when the answer was lost.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.client import LOST, Answer, Client, digest, manifest_of, noise, with_digest


@dataclass
class Upload:
    """An open session: what it is going to be, and between which lengths it must stand."""

    location: str
    content: bytes
    at_least: int = 0
    at_most: int = 0
    ending: bool = False
    """A closing or cancelling request was sent and not answered: the session may be gone."""


@dataclass
class Worker:
    """One client with a repository of its own."""

    client: Client
    number: int
    random: random.Random
    acknowledged: int = 0
    lost: int = 0
    blobs: dict[bytes, set[bool]] = field(default_factory=dict)
    manifests: dict[bytes, set[bool]] = field(default_factory=dict)
    tags: dict[str, set[str | None]] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)

    @property
    def repository(self) -> str:
        return f"crash/worker{self.number}"

    def run(self, until: threading.Event) -> None:
        """Do one thing after the other until told to end, or the server is gone."""
        todo: list[Callable[[], None]] = [
            *(self.push_blob,) * 3,
            *(self.begin_upload,) * 2,
            *(self.go_on,) * 4,
            *(self.push_manifest,) * 3,
            self.move_tag,
            self.delete_tag,
            self.delete_manifest,
            self.delete_blob,
            self.mount,
            self.cancel,
        ]
        while not until.is_set():
            try:
                self.random.choice(todo)()
            except LOST:
                self.lost += 1
                return

    # -- what it does; each widens what is possible before the request and narrows it after the answer -----------------

    def bytes_of(self, least: int, most: int) -> bytes:
        return noise(self.random.random(), self.random.randrange(least, most))

    def push_blob(self) -> None:
        content = self.bytes_of(1, 200_000)
        self.blobs[content] = {False, True}
        if self.random.random() < 0.3:
            target = with_digest(f"/v2/{self.repository}/blobs/uploads/", digest(content))
            self.done(self.client.request("POST", target, content), 201)
        else:
            location = self.client.open(self.repository)
            upload = Upload(location, content, at_most=len(content), ending=True)
            self.uploads.append(upload)
            self.done(self.client.finish(location, digest(content), content), 201)
            self.uploads.remove(upload)
        self.blobs[content] = {True}

    def begin_upload(self) -> None:
        if len(self.uploads) < 6:
            self.uploads.append(Upload(self.client.open(self.repository), self.bytes_of(1000, 900_000)))

    def go_on(self) -> None:
        """A PATCH, counted or chunked, or the closing PUT when everything is there."""
        if not self.uploads:
            return self.begin_upload()
        upload = self.random.choice(self.uploads)
        start = upload.at_least
        if start == len(upload.content):
            return self.close(upload)
        piece = upload.content[start : start + self.random.randrange(1, 400_000)]
        upload.at_most = start + len(piece)
        if self.random.random() < 0.5:
            answer = self.client.patch(upload.location, piece, start)
        else:
            answer = self.client.patch(upload.location, iter([piece[:7], piece[7:]]))
        self.done(answer, 202)
        assert answer.received_bytes == upload.at_most
        upload.location, upload.at_least = answer.location, upload.at_most
        return None

    def close(self, upload: Upload) -> None:
        upload.ending = True
        self.blobs[upload.content] = {False, True}
        self.done(self.client.finish(upload.location, digest(upload.content)), 201)
        self.blobs[upload.content] = {True}
        self.uploads.remove(upload)

    def cancel(self) -> None:
        if self.uploads:
            upload = self.random.choice(self.uploads)
            upload.ending = True
            self.done(self.client.request("DELETE", upload.location), 204)
            self.uploads.remove(upload)

    def push_manifest(self) -> None:
        """Two fresh blobs, then a manifest by a tag that may point elsewhere before."""
        blobs = [self.bytes_of(10, 3000), self.bytes_of(10, 3000)]
        for content in blobs:
            self.blobs[content] = {False, True}
            self.client.push(self.repository, content)
            self.blobs[content] = {True}
        manifest, tag = manifest_of(*blobs), f"t{self.random.randrange(4)}"
        self.manifests[manifest] = {False, True}
        self.tag(tag, manifest)
        self.manifests[manifest] = {True}

    def tag(self, tag: str, manifest: bytes) -> None:
        self.tags[tag] = self.tags.get(tag, {None}) | {digest(manifest)}
        self.done(self.client.put_manifest(self.repository, tag, manifest), 201)
        self.tags[tag] = {digest(manifest)}

    def known(self) -> list[bytes]:
        return [content for content, there in self.manifests.items() if there == {True}]

    def move_tag(self) -> None:
        if known := self.known():
            self.tag(f"t{self.random.randrange(4)}", self.random.choice(known))

    def delete_tag(self) -> None:
        tag = f"t{self.random.randrange(4)}"
        self.tags[tag] = self.tags.get(tag, {None}) | {None}
        self.done(self.client.request("DELETE", f"/v2/{self.repository}/manifests/{tag}"), 202, 404)
        self.tags[tag] = {None}

    def delete_manifest(self) -> None:
        if not (known := self.known()):
            return
        manifest = self.random.choice(known)
        name = digest(manifest)
        tags = [tag for tag, states in self.tags.items() if name in states]
        self.manifests[manifest] = {False, True}
        for tag in tags:
            self.tags[tag] |= {None}
        self.done(self.client.request("DELETE", f"/v2/{self.repository}/manifests/{name}"), 202)
        self.manifests[manifest] = {False}
        for tag in tags:
            self.tags[tag] -= {name}

    def delete_blob(self) -> None:
        """One that no manifest needs."""
        free = [content for content, there in self.blobs.items() if there == {True} and len(content) > 3000]
        if free:
            content = self.random.choice(free)
            self.blobs[content] = {False, True}
            self.done(self.client.request("DELETE", f"/v2/{self.repository}/blobs/{digest(content)}"), 202)
            self.blobs[content] = {False}

    def mount(self) -> None:
        """A blob of our own into the repository that all share, and gone from ours it stays there."""
        if there := [content for content, states in self.blobs.items() if states == {True}]:
            content = self.random.choice(there)
            target = f"/v2/crash/shared/blobs/uploads/?mount={digest(content)}&from={self.repository}"
            self.done(self.client.request("POST", target, b""), 201)
            assert self.client.request("HEAD", f"/v2/crash/shared/blobs/{digest(content)}").status == 200

    def done(self, answer: Answer, *statuses: int) -> None:
        answer.expect(*statuses)
        self.acknowledged += 1

    # -- what it finds after a crash -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Everything is in one of the states that are possible; from here on that one is known."""
        for content, there in self.blobs.items():
            found = self.client.has_whole(self.repository, content)
            assert found in there, f"a blob of {len(content)} bytes is {'there' if found else 'gone'}"
            self.blobs[content] = {found}
        for manifest, there in self.manifests.items():
            found = self.client.tagged(self.repository, digest(manifest)) is not None
            assert found in there, f"a manifest is {'there' if found else 'gone'}"
            self.manifests[manifest] = {found}
        for tag, states in self.tags.items():
            target = self.client.tagged(self.repository, tag)
            assert target in states, f"{tag} points at {target}, which nobody asked for"
            self.tags[tag] = {target}
        for upload in list(self.uploads):
            self.check_upload(upload)

    def check_upload(self, upload: Upload) -> None:
        status = self.client.request("GET", upload.location).expect(204, *([404] if upload.ending else []))
        if status.status == 404:
            self.uploads.remove(upload)
            return
        assert upload.at_least <= status.received_bytes <= upload.at_most
        upload.location, upload.at_least, upload.ending = status.location, status.received_bytes, False

    def finish_all(self) -> None:
        """Every session that is open can be completed to what it was to be."""
        for upload in self.uploads:
            rest = upload.content[upload.at_least :]
            self.client.finish(upload.location, digest(upload.content), rest).expect(201)
            assert self.client.has_whole(self.repository, upload.content)
            self.blobs[upload.content] = {True}
        self.uploads.clear()
