"""Challenges answered: Basic, Bearer with its token service, TLS that is trusted or not."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from certs.trust import CaFileUnusable, client_context
from clients.authorizing import challenges
from clients.credentials import Credentials
from clients.problems import LineBroken, Problem, Refused
from clients.retrying import GaveUp
from tests.unit.clients.fake import FakeRegistry, Status
from tests.unit.clients.steps import a_job, pushed, self_signed, some_file, tls_context

ANN = Credentials("ann", "secret")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (["Basic realm=x"], [("basic", {"realm": "x"})]),
        (["Basic"], [("basic", {})]),
        (
            ['Bearer realm="https://t/token",service="s, t",scope="repository:a/b:pull,push"'],
            [("bearer", {"realm": "https://t/token", "service": "s, t", "scope": "repository:a/b:pull,push"})],
        ),
        (['Basic realm="x", Bearer realm="y"'], [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        (["Negotiate", "BEARER Realm=y"], [("negotiate", {}), ("bearer", {"realm": "y"})]),
        ([""], []),
    ],
)
def test_challenges_are_read(headers: list[str], found: list[tuple[str, dict[str, str]]]) -> None:
    assert list(challenges(headers)) == found


async def test_a_registry_that_wants_a_password_gets_it_when_it_asks(tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        fake.basic = "ann:secret"
        await pushed(fake.url, some_file(tmp_path / "f", 100), credentials=ANN)
        assert "Authorization" not in fake.of("capabilities")[0].headers
        assert fake.manifests


async def test_a_token_is_fetched_and_used_for_everything(tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        fake.basic, fake.bearer = "ann:secret", "tok"
        await pushed(fake.url, some_file(tmp_path / "f", 100), credentials=ANN)
        assert len(fake.of("token")) == 1
        assert "scope=repository:a/b:pull,push" in fake.of("token")[0].path
        assert fake.manifests


async def test_a_token_that_expires_on_the_way_is_fetched_again(tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        fake.bearer = "one"
        async with a_job(fake.url) as job:
            assert (await job.peer.call("GET", "/v2/a/b/manifests/x")).status == 404
            fake.bearer = "two"
            assert (await job.peer.call("GET", "/v2/a/b/manifests/x")).status == 404
        assert len(fake.of("token")) == 2


async def test_a_refresh_token_is_exchanged(tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        fake.basic, fake.bearer = "ann:secret", "tok"
        await pushed(fake.url, some_file(tmp_path / "f", 100), credentials=Credentials("", "", "refresh"))
        assert fake.of("token")[0].method == "POST"
        assert fake.manifests


async def test_who_may_not_is_told_how_to_log_in(tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        fake.basic = "ann:other"
        with pytest.raises(Refused, match=r"cannot push to a/b: .* answered 401\nlog in with docker login"):
            await pushed(fake.url, some_file(tmp_path / "f", 100), credentials=ANN)
        fake.bearer = "tok"
        with pytest.raises(Refused, match=r"the token service 127.0.0.1 refused the login\nlog in"):
            await pushed(fake.url, some_file(tmp_path / "f", 100), credentials=ANN)


async def test_a_token_service_that_fails_is_asked_again(tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        fake.bearer = "tok"
        fake.faults["token"] = [Status(503)]
        await pushed(fake.url, some_file(tmp_path / "f", 100))
        assert len(fake.of("token")) == 2


async def test_a_login_is_not_sent_in_the_clear_for_a_registry_with_tls(trusted: Path, secure: str) -> None:
    async with a_job(secure, trust=client_context(trusted), credentials=ANN) as job:
        with pytest.raises(Refused, match=r"wants its passwords sent without encryption, to evil\.example\.org"):
            await job.peer.call("GET", "/v2/")


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    """A certificate of `localhost` that signed itself, and its key beside it."""
    return self_signed(tmp_path)


@pytest.fixture
async def secure(trusted: Path) -> AsyncIterator[str]:
    """A registry with TLS whose token service wants to be asked without."""

    async def answer(request: web.Request) -> web.Response:
        asked = 'Bearer realm="http://evil.example.org/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": asked})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls_context(trusted)).start()
    yield f"https://localhost:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_certificate_that_nobody_vouches_for_is_refused_with_the_remedy(secure: str) -> None:
    async with a_job(secure, trust=client_context()) as job:
        with pytest.raises(Problem, match=r"the certificate of localhost:\d+ is not trusted: .*\nname the authority"):
            await job.peer.call("GET", "/v2/", side="nobody")


async def test_who_says_insecure_gets_it(secure: str) -> None:
    async with a_job(secure, trust=client_context(insecure=True)) as job:
        assert (await job.peer.call("GET", "/v2/", side="nobody")).status == 401


async def test_a_server_without_tls_is_recognised() -> None:
    async with FakeRegistry() as fake, a_job(fake.url.replace("http:", "https:"), trust=client_context()) as job:
        with pytest.raises(Problem, match=r"does not speak TLS\nsay --plain-http"):
            await job.peer.call("GET", "/v2/")


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "ca.pem", tmp_path / "gone"):
        with pytest.raises(CaFileUnusable, match=path.name):
            client_context(path)


async def test_a_registry_that_is_not_there_is_given_up_soon(tmp_path: Path) -> None:
    async with FakeRegistry() as gone:
        url = gone.url
    with pytest.raises(GaveUp, match=r"cannot connect to 127.0.0.1:\d+ \(Connection refused\); gave up after"):
        await pushed(url, some_file(tmp_path / "f", 100), give_up_after_s=0.01)


async def test_a_host_that_nothing_is_known_by_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """`push FILE hello/world` takes hello for the host; who forgot the host has to see that."""

    async def unknown(*args: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with a_job("http://hello") as job:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown, raising=False)
        with pytest.raises(LineBroken, match=r"hello:80 \(Name or service not known\)\nwhat stands before the first"):
            await job.peer.call("GET", "/v2/")


async def test_a_location_that_lost_its_tls_is_put_right() -> None:
    """A proxy in front of a registry that builds absolute URLs from what it sees."""
    async with a_job("https://r.example.org") as job:
        assert (
            str(job.peer.resolve("http://r.example.org/v2/x?_state=a%3D")) == "https://r.example.org/v2/x?_state=a%3D"
        )
        assert str(job.peer.resolve("http://other.example.org/x")) == "http://other.example.org/x"
        assert str(job.peer.resolve("/v2/x")) == "https://r.example.org/v2/x"
        assert not job.peer.is_own(job.peer.resolve("https://r.example.org:5000/x"))
