"""What a store's refusals mean: one table from its words to our errors (s3-sigv4 3; G19).

    StoreRefused       the start: the bucket, the keys or the address are wrong, and waiting does not help
    StoreDenied        later: the store refuses our keys; the operator is told what to look at, clients are not
    CallFailed         inside `backends/s3` only: how one try of one call ended, before retries make an error of it

Stores agree on most words and on fewer statuses. So the word decides, and the status only where the word is unknown or
there is none (an answer to HEAD has no body).
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final

from backends.base import KeyMissing, MultipartGone, StoreUnavailable
from backends.s3.refused import Refusal, printable
from model.errors import StorageFailed, StorageFull


class StoreRefused(Exception):
    """The store cannot be used as it is set up: `reason`, and what to do about it, `remedy`, for the operator."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


class StoreDenied(StorageFailed):
    """The store refuses our keys. Clients are told no more than that; `reason` is for the log (G19)."""

    def __init__(self, reason: str) -> None:
        super().__init__("the store refuses our credentials")
        self.reason = reason


class Trouble(Enum):
    """What kind of end a try came to, which decides what is done next."""

    BROKEN = "no answer, or one that says that the store is ill"
    """Tried again; enough of them in a row open the circuit."""
    BUSY = "the store asks us to be slower"
    """Tried again, with more patience; the store is alive."""
    GARBLED = "the bytes did not arrive as they were sent"
    """Tried again; the store is alive."""
    UNREADABLE = "an answer that is not HTTP"
    """Tried again. Some stores write more behind an answer than belongs there, which spoils that or the next one."""
    WRONG_KEY = "the store does not know our key, or not our secret"
    """Tried again at once with the other pair, if there is one. Also a 403 that does not say why, as to HEAD."""
    DENIED = "the store knows us and does not let us"
    SKEWED = "the clocks of store and server are too far apart"
    NO_OBJECT = "nothing is stored under the key"
    NO_UPLOAD = "there is no such multipart upload"
    NO_BUCKET = "there is no such bucket"
    ELSEWHERE = "the bucket belongs to another region or address"
    FULL = "there is no room"
    RANGE = "the range starts behind the end"
    CHANGED = "the object is not the one that was asked for"
    UNSUPPORTED = "the store does not do this"
    OTHER = "the store refuses"


TRIED_AGAIN: Final = frozenset({Trouble.BROKEN, Trouble.BUSY, Trouble.GARBLED, Trouble.UNREADABLE})
OF_OUR_KEYS: Final = frozenset({Trouble.WRONG_KEY, Trouble.DENIED, Trouble.SKEWED})
OF_OUR_SETTINGS: Final = OF_OUR_KEYS | {Trouble.NO_BUCKET, Trouble.ELSEWHERE}
"""What passes only when the operator does something."""

BY_CODE: Final[Mapping[str, Trouble]] = {
    "InternalError": Trouble.BROKEN,
    "ServiceUnavailable": Trouble.BROKEN,
    "RequestTimeout": Trouble.BROKEN,
    "IncompleteBody": Trouble.BROKEN,
    "OperationAborted": Trouble.BROKEN,
    "ClientDisconnect": Trouble.BROKEN,
    "XMinioServerNotInitialized": Trouble.BROKEN,
    "XMinioReadQuorum": Trouble.BROKEN,
    "XMinioWriteQuorum": Trouble.BROKEN,
    "SlowDown": Trouble.BUSY,
    "SlowDownRead": Trouble.BUSY,
    "SlowDownWrite": Trouble.BUSY,
    "TooManyRequests": Trouble.BUSY,
    "RequestLimitExceeded": Trouble.BUSY,
    "Throttling": Trouble.BUSY,
    "ThrottlingException": Trouble.BUSY,
    "BandwidthLimitExceeded": Trouble.BUSY,
    "BadDigest": Trouble.GARBLED,
    "XAmzContentSHA256Mismatch": Trouble.GARBLED,
    "XAmzContentChecksumMismatch": Trouble.GARBLED,
    "InvalidAccessKeyId": Trouble.WRONG_KEY,
    "SignatureDoesNotMatch": Trouble.WRONG_KEY,
    "InvalidSecurity": Trouble.WRONG_KEY,
    "InvalidToken": Trouble.WRONG_KEY,
    "ExpiredToken": Trouble.WRONG_KEY,
    "TokenRefreshRequired": Trouble.WRONG_KEY,
    "NotSignedUp": Trouble.WRONG_KEY,
    "AccessDenied": Trouble.DENIED,
    "AllAccessDisabled": Trouble.DENIED,
    "AccountProblem": Trouble.DENIED,
    "RequestTimeTooSkewed": Trouble.SKEWED,
    "RequestExpired": Trouble.SKEWED,
    "NoSuchKey": Trouble.NO_OBJECT,
    "NoSuchVersion": Trouble.NO_OBJECT,
    "NoSuchUpload": Trouble.NO_UPLOAD,
    "NoSuchBucket": Trouble.NO_BUCKET,
    "AuthorizationHeaderMalformed": Trouble.ELSEWHERE,
    "PermanentRedirect": Trouble.ELSEWHERE,
    "TemporaryRedirect": Trouble.ELSEWHERE,
    "Redirect": Trouble.ELSEWHERE,
    "InvalidRegion": Trouble.ELSEWHERE,
    "IllegalLocationConstraintException": Trouble.ELSEWHERE,
    "QuotaExceeded": Trouble.FULL,
    "XMinioAdminBucketQuotaExceeded": Trouble.FULL,
    "XMinioStorageFull": Trouble.FULL,
    "XMinioDiskFull": Trouble.FULL,
    "StorageLimitExceeded": Trouble.FULL,
    "InsufficientStorage": Trouble.FULL,
    "EntityTooLarge": Trouble.FULL,
    "InvalidRange": Trouble.RANGE,
    "PreconditionFailed": Trouble.CHANGED,
    "NotImplemented": Trouble.UNSUPPORTED,
    "MethodNotAllowed": Trouble.UNSUPPORTED,
}
"""The words of AWS, and those that MinIO, Ceph, Storj and Swift have beside them."""

BY_STATUS: Final[Mapping[int, Trouble]] = {
    301: Trouble.ELSEWHERE,
    307: Trouble.ELSEWHERE,
    401: Trouble.DENIED,
    403: Trouble.WRONG_KEY,
    404: Trouble.NO_OBJECT,
    405: Trouble.UNSUPPORTED,
    408: Trouble.BROKEN,
    412: Trouble.CHANGED,
    413: Trouble.FULL,
    416: Trouble.RANGE,
    429: Trouble.BUSY,
    501: Trouble.UNSUPPORTED,
    507: Trouble.FULL,
}


def trouble_of(refusal: Refusal) -> Trouble:
    """What an answer means. One with success in its status was an error behind a 200 (s3-sigv4 3): the store is ill."""
    found = BY_CODE.get(refusal.code) or BY_STATUS.get(refusal.status)
    return found or (Trouble.BROKEN if refusal.status >= 500 or refusal.status < 300 else Trouble.OTHER)


class CallFailed(Exception):
    """One try of one call failed: `trouble`, and `reason` for the log. `refusal` is None when no answer came.

    `silent`: it said nothing at all to something small, for longer than that may take.
    `retry_after_s` is what the store asks for, `canonical` our canonical request as far as we know it, `skew_s` how
    far the store's clock is ahead of ours.
    """

    def __init__(
        self,
        trouble: Trouble,
        reason: str,
        refusal: Refusal | None = None,
        *,
        retry_after_s: float | None = None,
        canonical: str = "",
        skew_s: float = 0.0,
        silent: bool = False,
    ) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.reason = reason
        self.refusal = refusal
        self.retry_after_s = retry_after_s
        self.canonical = canonical
        self.skew_s = skew_s
        self.silent = silent

    @classmethod
    def by(cls, refusal: Refusal, headers: Mapping[str, str], *, now_s: float, canonical: str = "") -> "CallFailed":
        """What an answer of the store makes of a try; the names of its `headers` are in lower case."""
        told = f"{refusal}: {printable(refusal.message[:200])}" if refusal.message else str(refusal)
        wait = headers.get("retry-after", "")
        return cls(
            trouble_of(refusal),
            told,
            refusal,
            retry_after_s=float(wait) if wait.isdecimal() else None,
            canonical=canonical,
            skew_s=_skew_s(headers.get("date", ""), now_s),
        )


def trouble_behind(error: BaseException) -> Trouble | None:
    """What kind of trouble an error of `Calls` was made of."""
    return error.__cause__.trouble if isinstance(error.__cause__, CallFailed) else None


def storage_error(failed: CallFailed, doing: str, *, retry_after_s: int = 5) -> StorageFailed | StorageFull:
    """The error of the port for the last try of `doing`: "store KEY", which only the log is told."""
    match failed.trouble:
        case Trouble.BROKEN | Trouble.BUSY | Trouble.UNREADABLE:
            return StoreUnavailable(f"cannot {doing}: the store does not answer", retry_after_s=retry_after_s)
        case Trouble.NO_OBJECT:
            return KeyMissing(f"cannot {doing}: nothing is stored there")
        case Trouble.NO_UPLOAD:
            return MultipartGone(f"cannot {doing}: the store knows no such upload")
        case Trouble.FULL:
            told = "the object store is full, or takes nothing as large"
            return StorageFull(told, inner=f"cannot {doing}: {told}")
        case Trouble.WRONG_KEY | Trouble.DENIED | Trouble.SKEWED:
            return StoreDenied(f"cannot {doing}: {failed.reason}")
    told = f"the object store answered {failed.refusal or 'not as it should'}"
    return StorageFailed(told, inner=f"cannot {doing}: {told}")


def word_behind(error: BaseException) -> str:
    """The store's own word for it; empty when it had none."""
    failed = error.__cause__
    return failed.refusal.code if isinstance(failed, CallFailed) and failed.refusal is not None else ""


def _skew_s(date: str, now_s: float) -> float:
    """How far the clock of whoever wrote `date` is ahead; 0 when it is no date."""
    try:
        return parsedate_to_datetime(date).timestamp() - now_s
    except ValueError:
        return 0.0
