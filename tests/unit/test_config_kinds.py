"""What a person may write for a value, and that what is shown can be read again."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.kinds import (
    Address,
    Kind,
    address,
    choice,
    count,
    duration,
    folder,
    folder_or_none,
    networks,
    public_url,
    size,
    switch,
    token,
)

DAY_S = 86400


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5000", "127.0.0.1", 5000),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("[::1]:5000", "::1", 5000),
        ("[fe80::1%eth0]:65535", "fe80::1%eth0", 65535),
        ("registry.lab:80", "registry.lab", 80),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    parsed = address().parse(text)
    assert parsed == Address(host, port)
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5000",
        ":5000",
        "localhost",
        "localhost:",
        "h:65536",
        "h:-1",
        "h: 1",
        "h:١",
        "::1:5000",
        "[h]:1",
        "[::1]",
        "a b:1",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT, for example"):
        address().parse(text)


@pytest.mark.parametrize(
    ("text", "value_bytes"),
    [
        ("0", 0),
        ("65536", 65536),
        ("64KiB", 65536),
        ("4 MiB", 4 << 20),
        ("4mib", 4 << 20),
        ("1GiB", 1 << 30),
        ("1MB", 10**6),
        ("512B", 512),
    ],
)
def test_a_size_is_a_number_with_or_without_a_unit(text: str, value_bytes: int) -> None:
    assert size(0, 1 << 40).parse(text) == value_bytes


@pytest.mark.parametrize("raw", ["", "4M", "4 Mi B", "-1", "1.5MiB", "0x10", "٤MiB", "MiB", "2TiB", True, "9" * 30])
def test_what_is_no_size_is_refused_with_an_example(raw: object) -> None:
    with pytest.raises(ValueError, match="expected a size from 0 to 1TiB, for example 64KiB"):
        size(0, 1 << 40).parse(raw)


@pytest.mark.parametrize(
    ("text", "value_s"), [("500ms", 0.5), ("30s", 30), ("90m", 5400), ("24h", DAY_S), ("7d", 7 * DAY_S), ("0s", 0)]
)
def test_a_time_carries_its_unit(text: str, value_s: float) -> None:
    assert duration(0, 30 * DAY_S).parse(text) == value_s


@pytest.mark.parametrize("raw", ["", "30", 30, "5 parsecs", "5M", "-1s", "1.5h", "31d", "h"])
def test_a_time_without_a_unit_or_outside_its_limits_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="expected a time from 0s to 30d with its unit, for example 30s"):
        duration(0, 30 * DAY_S).parse(raw)


@pytest.mark.parametrize("raw", ["0", "101", "-1", "ten", "1_0", "", 1.0, True, "1e2"])
def test_a_count_stays_within_its_limits(raw: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number from 1 to 100"):
        count(1, 100).parse(raw)


@pytest.mark.parametrize("raw", ["on", "ON", "true", "yes", "1", True, 1])
def test_a_switch_is_on_in_every_common_spelling(raw: object) -> None:
    assert switch().parse(raw) is True


@pytest.mark.parametrize("raw", ["off", "False", "no", "0", False, 0])
def test_a_switch_is_off_in_every_common_spelling(raw: object) -> None:
    assert switch().parse(raw) is False


def test_a_switch_knows_no_third_word() -> None:
    with pytest.raises(ValueError, match="expected on or off"):
        switch().parse("maybe")


def test_a_choice_takes_its_words_and_explains_the_one_it_refuses() -> None:
    kind = choice("tin", "gold", "lead", refused={"wood": "burns; say tin"})
    assert kind.parse(" Gold ") == "gold"
    with pytest.raises(ValueError, match=r"^expected tin, gold or lead$"):
        kind.parse("stone")
    with pytest.raises(ValueError, match=r"^burns; say tin$"):
        kind.parse("wood")


def test_a_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert folder().parse("data") == tmp_path / "data"
    assert folder().parse("~/data") == Path("/somewhere/data")
    assert folder_or_none().parse("") is None


@pytest.mark.parametrize("raw", ["", "  ", "a\0b", 5, "~nobody-of-this-name/x"])
def test_what_is_no_folder_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"folder"):
        folder().parse(raw)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("https://registry.example.org", "https://registry.example.org"),
        (" HTTPS://Registry.Example.Org:443/ ", "https://registry.example.org"),
        ("http://h:80", "http://h"),
        ("http://h:443", "http://h:443"),
        ("http://[fd00::1]:5000", "http://[fd00::1]:5000"),
        ("https://my_registry:5000", "https://my_registry:5000"),
    ],
)
def test_a_public_url_is_kept_as_clients_will_say_it(text: str, value: str) -> None:
    """M11: the host in a signature is the one that clients send."""
    assert public_url().parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "registry.example.org",
        "ftp://h",
        "https://",
        "https://h/path",
        "https://h?q",
        "https://h#f",
        "https://user@h",
        "https://user:secret@h",
        "https://h:65536",
        "https://h:port",
        "https://h:",
        "https://fd00::1",
        "https://a..b",
        "https://h h",
        "https://ĥ",
    ],
)
def test_a_public_url_with_more_than_a_host_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="expected scheme://HOST"):
        public_url().parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.0/8,fd00::/8", "10.0.0.0/8, fd00::/8"),
        (" ::1  192.168.0.0/16 , 10.1.2.3/32", "::1, 192.168.0.0/16, 10.1.2.3"),
    ],
)
def test_networks_are_listed_with_commas_or_blanks(text: str, shown: str) -> None:
    assert networks().show(networks().parse(text)) == shown


@pytest.mark.parametrize("raw", ["proxy.lab", "10.0.0.1/8", "10.0.0.0/33", "::1::", "10.0.0", 5, True, "1.2.3.4:80"])
def test_what_is_no_network_is_refused_with_an_example(raw: object) -> None:
    with pytest.raises(ValueError, match="expected IP addresses or networks"):
        networks().parse(raw)


def test_a_token_is_long_enough_to_be_one_and_is_never_shown() -> None:
    kind = token()
    assert kind.secret
    assert kind.parse("") == ""
    assert kind.show(kind.parse(" 0123456789abcdef ")) == "set"
    assert kind.show("") == "empty"
    for text in ("short", "0123456789 abcdef", "0123456789abcdé!", "x" * 513, "0123456789abcdef\x00"):
        with pytest.raises(ValueError, match="at least 16 printable"):
            kind.parse(text)


@given(st.integers(0, 1 << 40))
def test_a_size_that_is_shown_can_be_read_again(value: int) -> None:
    assert size(0, 1 << 40).parse(size(0, 1 << 40).show(value)) == value


@given(st.integers(0, 10**9))
def test_a_time_that_is_shown_can_be_read_again(value_ms: int) -> None:
    kind = duration(0, 10**6)
    assert kind.parse(kind.show(value_ms / 1000)) == value_ms / 1000


@given(st.text(max_size=20))
def test_whatever_is_written_is_a_value_or_a_value_error(text: str) -> None:
    kinds: list[Kind[Any]] = [address(), folder(), folder_or_none(), count(0, 9), size(0, 9), duration(0, 9), switch()]
    kinds += [public_url(), networks()]
    for kind in kinds:
        try:
            value = kind.parse(text)
        except ValueError:
            continue
        assert kind.parse(kind.show(value)) == value
