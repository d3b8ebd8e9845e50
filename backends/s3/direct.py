"""URLs of the store for clients: signed for the address they know it by, in the form that it takes (M07-M12, G07, G08).

The ability `Direct` of an S3 backend. Signing asks nobody, so it works while the store is down; whether clients may be
sent there is what the last look found (`findings.py`).
"""

from collections.abc import Callable, Mapping
from typing import Final

from backends.s3.addresses import barred
from backends.s3.findings import Findings, not_yet
from backends.s3.settings import StoreSettings
from model.clock import Clock
from model.errors import StorageFailed
from sigv4.places import Place
from sigv4.presigning import Form, Presigned, presign
from sigv4.signing import Credentials

METHODS: Final = frozenset({"GET", "HEAD"})
_ANSWERS: Final[Mapping[str, str]] = {
    name: f"response-{name}"
    for name in (
        "content-type",
        "content-language",
        "content-disposition",
        "content-encoding",
        "cache-control",
        "expires",
    )
}
"""The headers of an answer that a URL can decide, by the argument that does it."""


class DirectUrls:
    """Signs URLs with the credentials that work now; `found` is what the last look at the store has found."""

    def __init__(
        self,
        settings: StoreSettings,
        clock: Clock,
        credentials: Callable[[], Credentials],
    ) -> None:
        """`credentials` says which pair works now; rotation changes it (G04)."""
        self._clock = clock
        self._credentials = credentials
        self._full_key = settings.full_key
        self._region = settings.region
        self.place: Place = settings.external
        self.found: Findings = not_yet(barred(settings))

    @property
    def native(self) -> bool:
        """Whether clients may be sent to the store with parts now; see `Direct.native`."""
        return self.found.native

    @property
    def why_not_native(self) -> str:
        """Why not; empty when they may."""
        return self.found.why_not

    @property
    def checks_hashes(self) -> bool:
        """Whether the store itself refuses a body that does not hash to what its URL was signed for."""
        return self.found.checks_hashes

    def part_url(
        self, key: str, store_upload_id: str, number: int, *, sha256: str | None, lifetime_s: int
    ) -> Presigned:
        """A URL for PUT of one part, with the headers that the client has to send along; see `Direct.part_url`.

        With `sha256` in the form that this store takes; where it takes none, a plain one, and no header is to be sent.

        Raises:
            StorageFailed: the credentials themselves have ended.
        """
        form = self.found.hashed if sha256 is not None else None
        parameters = {"partNumber": str(number), "uploadId": store_upload_id}
        return self.presigned(
            "PUT", key, parameters, lifetime_s=lifetime_s, form=form or Form.PLAIN, sha256=sha256 if form else None
        )

    def link(
        self, method: str, key: str, *, lifetime_s: int, answer_headers: Mapping[str, str] | None = None
    ) -> Presigned:
        """A URL for GET or HEAD of an object; the signature is good for that method alone. See `Direct.link`.

        Raises:
            ValueError: another method, or a header that no URL decides. StorageFailed: the credentials have ended.
        """
        if method not in METHODS:
            raise ValueError(f"no links are made for {method}")
        parameters = {}
        for name, value in (answer_headers or {}).items():
            if name.lower() not in _ANSWERS:
                raise ValueError(f"a URL cannot decide the header {name} of an answer")
            parameters[_ANSWERS[name.lower()]] = value
        return self.presigned(method, key, parameters, lifetime_s=lifetime_s)

    def presigned(
        self,
        method: str,
        key: str,
        parameters: Mapping[str, str] | None = None,
        *,
        lifetime_s: int,
        form: Form = Form.PLAIN,
        sha256: str | None = None,
    ) -> Presigned:
        """Any URL of the bucket as clients name it, whether or not the store takes that form: the probe asks for all.

        Raises:
            StorageFailed: the credentials themselves have ended.
        """
        now_s, credentials = self._clock.now_s(), self._credentials()
        if credentials.expires_at_s is not None and credentials.expires_at_s - now_s < 1:
            raise StorageFailed("the credentials for the store have ended")
        return presign(
            credentials,
            self.place,
            method,
            f"/{self._full_key(key)}",
            parameters,
            region=self._region,
            now_s=now_s,
            lifetime_s=lifetime_s,
            form=form,
            payload_sha256=sha256,
        )
