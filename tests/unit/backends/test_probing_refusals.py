"""What is wrong with the settings of a store: each mistake is told as the setting to look at, by a real store."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backends.s3.errors import StoreRefused
from backends.s3.outside import Reply, Unreachable, ask
from backends.s3.reaching import skew_s
from backends.s3.refused import Refusal, read, remedy
from backends.s3.settings import StoreSettings
from backends.s3.storecheck import checked
from certs.trust import client_context
from model.clock import SystemClock
from sigv4.places import Style
from tests.support.objectstore import Bucket
from tests.unit.backends.looking import host_changer, serving, session, settings_of
from tests.unit.clients.steps import self_signed, tls_context

EMPTY_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SETTINGS = StoreSettings(bucket="images", endpoint="http://10.0.0.5:9000", key_id="AKID", secret="s" * 20)
CANONICAL = "GET\n/images/\nlist-type=2\nhost:10.0.0.5:9000\nx-amz-date:20261121T120000Z\n\nhost;x-amz-date\nabc"


async def trouble(settings: StoreSettings) -> str:
    """What `storage check` says of a store that cannot be used."""
    async with checked(settings, SystemClock(), session) as store:
        assert not store.findings.reachable
        return store.findings.trouble


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"secret": "testing124"}, ["SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"]),
        ({"key_id": "test:nobody"}, ["SignatureDoesNotMatch", "AWS_ACCESS_KEY_ID"]),
        ({"region": "eu-west-7"}, ["S3_REGION=us-east-1"]),
        ({"bucket": "nobody-made-this"}, ["NoSuchBucket", "S3_BUCKET", "S3_CREATE_BUCKET=on"]),
    ],
)
async def test_a_wrong_setting_is_named(bucket: Bucket, wrong: dict[str, Any], words: list[str]) -> None:
    """G19, M14."""
    said = await trouble(replace(settings_of(bucket), **wrong))
    assert [word for word in words if word not in said] == []
    assert "testing12" not in said


async def test_a_proxy_that_changes_the_host_on_our_own_way_is_named(bucket: Bucket) -> None:
    """G19: both computed a canonical request, and the line that differs says who changed what."""
    async with host_changer(bucket.store.netloc) as proxy:
        said = await trouble(replace(settings_of(bucket), endpoint=f"http://{proxy}"))
        assert f"we signed {proxy}, the store saw {bucket.store.netloc}" in said


async def test_the_second_pair_is_taken_when_the_store_refuses_the_first(bucket: Bucket) -> None:
    """G04: a look during a change of keys finds the store as able as ever, by whichever pair it takes."""
    store = bucket.store
    settings = replace(settings_of(bucket), key_id="retired", other_key_id=store.key_id, other_secret=store.secret)
    async with checked(settings, SystemClock(), session) as found:
        assert (found.findings.native, found.key_id) == (True, store.key_id)


async def test_a_missing_bucket_is_made_when_told_to(bucket: Bucket) -> None:
    """M15."""
    settings = replace(settings_of(bucket), bucket="made-on-request", create_bucket=True)
    async with checked(settings, SystemClock(), session) as store:
        assert store.findings.reachable
    with pytest.raises(StoreRefused, match="NoSuchBucket"):
        await reopened(replace(settings_of(bucket), bucket="not-made"))


async def reopened(settings: StoreSettings) -> None:
    from backends.s3.backend import open_store

    async with open_store(settings, SystemClock(), session):
        pass


@asynccontextmanager
async def answering(text: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL of a server that says `text` to everybody, whatever they say."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(text)
        await writer.drain()

    async with serving(client, tls) as netloc:
        yield f"http{'s' if tls else ''}://{netloc}"


async def why(url: str, timeout_s: float = 5.0) -> str:
    """Why nothing was answered there."""
    async with session() as asked:
        with pytest.raises(Unreachable) as caught:
            await ask(asked, SystemClock(), "GET", url, timeout_s=timeout_s)
    return str(caught.value)


async def test_an_address_where_nobody_is_is_told_from_one_that_nobody_knows() -> None:
    assert "nobody answers at http://127.0.0.1:9 (Connection refused)" in await why("http://127.0.0.1:9/x")
    assert "the name no-such-store.invalid is not known" in await why("http://no-such-store.invalid/x")


async def test_what_is_no_http_or_no_tls_or_no_answer_is_said() -> None:
    async with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        assert "whether it speaks http at this port" in await why(url)
        assert "does not speak TLS" in await why(url.replace("http:", "https:"))
    async with answering(b"") as url:
        assert "ended the connection without an answer" in await why(url)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as netloc:
        assert "does not answer within 0 s" in await why(f"http://{netloc}/", timeout_s=0.2)


async def test_a_certificate_that_nobody_vouches_for_leads_to_the_ca_file(tmp_path: Path) -> None:
    """M22, G14, G15; with that file it is trusted, and a name that it has not is told from a lack of trust."""
    certificate = self_signed(tmp_path)
    async with answering(EMPTY_ANSWER, tls_context(certificate)) as url:
        named = url.replace("127.0.0.1", "localhost")
        assert "set S3_CA_FILE" in await why(named)
        trusting = aiohttp.TCPConnector(ssl=client_context(certificate))
        async with aiohttp.ClientSession(connector=trusting) as asked:
            assert (await ask(asked, SystemClock(), "GET", named, timeout_s=5.0)).status == 200
            with pytest.raises(Unreachable, match="its certificate is not for that address"):
                await ask(asked, SystemClock(), "GET", url, timeout_s=5.0)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Refusal(403, "InvalidAccessKeyId"), ["'AKID'", "AWS_ACCESS_KEY_ID"]),
        (Refusal(403, "SignatureDoesNotMatch"), ["AWS_SECRET_ACCESS_KEY", "proxy"]),
        (Refusal(403, "RequestTimeTooSkewed"), ["20 min behind ours", "NTP"]),
        (Refusal(403, "AccessDenied"), ["'AKID'", "'images'", "rights"]),
        (Refusal(403, "ExpiredToken"), ["session token"]),
        (Refusal(404, "NoSuchBucket"), ["'images'", "S3_BUCKET", "S3_CREATE_BUCKET"]),
        (Refusal(503, "SlowDown"), ["overloaded"]),
        (Refusal(301, "PermanentRedirect", fields={"Region": "eu-west-1"}), ["S3_REGION=eu-west-1"]),
        (Refusal(301, "", fields={"Region": "eu-west-1"}), ["S3_REGION=eu-west-1"]),
        (Refusal(400, "AuthorizationHeaderMalformed", "expecting 'garage'"), ["S3_REGION=garage"]),
        (Refusal(400, "InvalidArgument", "what they say"), ["what they say"]),
        (Refusal(404, ""), ["no answer of an S3 store", "http://10.0.0.5:9000"]),
    ],
    ids=str,
)
def test_each_refusal_leads_to_a_setting(refusal: Refusal, words: list[str]) -> None:
    """G19; H047: it is the reason for going on buffered, so it stays the same from look to look."""
    said = remedy(refusal, SETTINGS, "AKID", skew_s=-1200.4)
    assert [word for word in words if word not in said] == []
    assert SETTINGS.secret not in said


def test_an_answer_that_is_no_s3_in_virtual_style_leads_to_the_style() -> None:
    said = remedy(Refusal(404, ""), replace(SETTINGS, style=Style.VIRTUAL), "AKID")
    assert "S3_ADDRESSING_STYLE=path" in said


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (CANONICAL, "AWS_SECRET_ACCESS_KEY"),
        (CANONICAL.replace("GET", "POST"), "the method was changed on the way: we signed 'GET', the store saw 'POST'"),
        (CANONICAL.replace("/images/", "/s3/images/"), "the path was changed"),
        (CANONICAL.replace("list-type=2", "list-type=2&x=1"), "the query was changed"),
        (CANONICAL.replace("10.0.0.5:9000", "minio"), "we signed 10.0.0.5:9000, the store saw minio"),
        (CANONICAL.replace("120000Z", "130000Z"), "the header x-amz-date was changed"),
        (CANONICAL.replace("abc", "def"), "payload line"),
    ],
)
def test_the_line_of_the_canonical_request_that_differs_is_named(theirs: str, words: str) -> None:
    """G19."""
    refusal = Refusal(403, "SignatureDoesNotMatch", fields={"CanonicalRequest": theirs})
    assert words in remedy(refusal, SETTINGS, "AKID", canonical=CANONICAL)


def test_a_refusal_is_read_from_s3s_xml_and_from_nothing_else() -> None:
    body = b"<?xml?>\n<Error><Code>AccessDenied</Code><Message>a &amp; b</Message><HostId>x</HostId></Error>"
    read_so = read(403, body, {})
    assert (read_so.code, read_so.message, str(read_so)) == ("AccessDenied", "a & b", "403 AccessDenied")
    assert read(502, b"<html><Code>no</Code></html>", {}).code == ""
    assert read(301, b"", {"x-amz-bucket-region": "eu-west-1"}).fields == {"Region": "eu-west-1"}


def test_what_a_store_says_cannot_break_a_line_or_paint_a_terminal() -> None:
    said = remedy(Refusal(400, "Odd\x1b[31m", "one\n2026-11-21 12:00:00 INFO all is well"), SETTINGS, "AKID")
    assert said.isprintable()
    assert "one?2026" in said


@pytest.mark.parametrize(
    ("date", "expected_s"),
    [
        ("Sat, 21 Nov 2026 12:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 12:10:00 GMT", 600.5),
        ("Sat, 21 Nov 2026 11:00:00 GMT", -3599.5),
        ("yesterday", None),
        (None, None),
    ],
)
def test_the_skew_is_taken_from_the_date_of_an_answer(date: str | None, expected_s: float | None) -> None:
    """s3-sigv4 1.4: 15 minutes are what stores tolerate."""
    noon_s = 1_795_262_400.0
    assert skew_s(Reply(200, {} if date is None else {"date": date}, b"", 0.0), noon_s) == expected_s
