"""Control calls, which carry no content: one client of aiobotocore for the process, one try each (s3-sigv4 6.1).

Imported only when a store is opened: a server on a directory starts without it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from backends.s3.credentials import Keys, for_botocore
from backends.s3.errors import CallFailed, StoreRefused, Trouble
from backends.s3.refused import Refusal
from backends.s3.settings import StoreSettings
from backends.s3.transfer import CONNECT_S, told_of, trouble_of_connection
from model.clock import Clock
from model.errors import StorageFailed
from model.units import MINUTE_S

if TYPE_CHECKING:
    import aiohttp

ASK_S: Final = 10.0
"""For an answer to what a store decides at once."""
LONG_S: Final = 10.0 * MINUTE_S
"""For what a store may have to move bytes for: completing, copying."""
_LISTING: Final = frozenset({"IsTruncated", "Name", "Bucket", "Key", "Contents", "Uploads", "Parts"})
_ANSWERS: Final[Mapping[str, frozenset[str]]] = {
    "create_multipart_upload": frozenset({"UploadId"}),
    "complete_multipart_upload": frozenset({"ETag", "Key", "Bucket", "Location"}),
    "copy_object": frozenset({"CopyObjectResult"}),
    "upload_part_copy": frozenset({"CopyPartResult"}),
    "list_objects": _LISTING,
    "list_objects_v2": _LISTING,
    "list_parts": _LISTING,
    "list_multipart_uploads": _LISTING,
}
"""Of which at least one is in every answer of a store; a page of something on the way has none of them."""


class Control:
    """One client, one bucket."""

    def __init__(self, settings: StoreSettings, clock: Clock, client: Any) -> None:
        self._bucket = settings.bucket
        self._url = settings.base_url
        self._clock = clock
        self._client = client

    async def ask(self, operation: str, parameters: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer to one operation (`head_object` ...) on the bucket, as botocore parses it.

        Raises:
            CallFailed; StorageFailed: what was to be asked makes no sense.
        """
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
        from botocore.exceptions import ConnectionError as NoConnection
        from botocore.parsers import ResponseParserError

        method = getattr(self._client, operation)
        try:
            async with asyncio.timeout(timeout_s):
                answer: dict[str, Any] = await method(Bucket=self._bucket, **parameters)
        except ClientError as error:
            raise self._refused(error.response) from error
        except TimeoutError:
            silent = timeout_s <= ASK_S
            raise CallFailed(Trouble.BROKEN, f"no answer within {timeout_s:.0f} s", silent=silent) from None
        except ResponseParserError as error:
            raise CallFailed(Trouble.OTHER, "that is no answer of an S3 store") from error
        except (HTTPClientError, NoConnection) as error:
            inner = error.kwargs.get("error")
            told = told_of(inner if isinstance(inner, Exception) else error, self._url)
            raise CallFailed(trouble_of_connection(inner), told) from error
        except BotoCoreError as error:
            raise StorageFailed(f"the store cannot be asked for {operation}: {error}") from error
        if not _is_answered(operation, answer):  # counts as an error of the store's own, as one that is no XML does
            told = f"a success without what {operation} is answered with"
            raise CallFailed(Trouble.BROKEN, told, Refusal(HTTPStatus.INTERNAL_SERVER_ERROR))
        return answer

    def _refused(self, answer: Mapping[str, Any]) -> CallFailed:
        """The failure in an answer, with everything that its XML had."""
        said = answer.get("Error", {})
        meta = answer.get("ResponseMetadata", {})
        headers: dict[str, str] = meta.get("HTTPHeaders", {})
        fields = {name: value for name, value in said.items() if isinstance(value, str)}
        if "x-amz-bucket-region" in headers:
            fields.setdefault("Region", headers["x-amz-bucket-region"])
        code = fields.get("Code", "")
        refusal = Refusal(
            status=int(meta.get("HTTPStatusCode", 0)),
            code="" if code.isdecimal() else code,  # botocore's word for an answer without a body is its status
            message=fields.get("Message", ""),
            fields=fields,
        )
        return CallFailed.by(refusal, headers, now_s=self._clock.now_s())


def _is_answered(operation: str, answer: Mapping[str, Any]) -> bool:
    """Whether an answer has what it is asked for: an empty 200 must not pass for an empty bucket, or for done."""
    wanted = _ANSWERS.get(operation)
    return wanted is None or any(answer.get(name) not in (None, "", {}) for name in wanted)


@asynccontextmanager
async def open_control(
    settings: StoreSettings, clock: Clock, keys: Keys, session: "aiohttp.ClientSession"
) -> AsyncIterator[Control]:
    """The client, configured for stores of every kind; it tries once, since `Calls` tries again.

    Its requests go out by `session`, as those with content do: the same connections, the same trust in certificates.

    Raises:
        StoreRefused: it takes no such endpoint or region: hosts and regions have no underscores, for one.
    """
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore.exceptions import BotoCoreError

    for name in ("botocore", "aiobotocore"):  # at DEBUG they write down whole requests, session tokens as well
        logging.getLogger(name).setLevel(logging.INFO)
    made = get_session()
    made.register_component("credential_provider", for_botocore(keys))
    config = AioConfig(
        signature_version="s3v4",
        s3={"addressing_style": settings.style.value},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "total_max_attempts": 1},
        ignore_configured_endpoint_urls=True,
        proxies={},
        http_session_cls=_sending_by(session),
    )
    making = made.create_client(
        "s3", region_name=settings.region, endpoint_url=settings.base_url, verify=False, config=config
    )
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(making)
        except (BotoCoreError, ValueError) as error:
            remedy = "look at S3_ENDPOINT and S3_REGION; names of hosts and regions have no underscores"
            told = str(error).rstrip(".")
            raise StoreRefused(f"a store cannot be asked with these settings: {told}", remedy) from error
        yield Control(settings, clock, client)


def _sending_by(session: "aiohttp.ClientSession") -> Any:
    """A class of HTTP session for aiobotocore that opens none of its own.

    It would have its own idea of which authorities to trust, and of how long an answer may take. (`verify=False` above
    only keeps it from making a TLS context that nobody uses.)
    """
    import aiohttp
    from aiobotocore.httpsession import AIOHTTPSession

    class Ours(AIOHTTPSession):  # type: ignore[misc]  # it comes without types
        """Requests by the session that is there."""

        async def _get_session(self, proxy_url: str | None) -> aiohttp.ClientSession:
            return session

        def _get_request_timeout(self, request: object) -> aiohttp.ClientTimeout:
            return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=LONG_S)

    return Ours
