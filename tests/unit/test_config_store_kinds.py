"""What a person may write about an object store: its address, the bucket, a prefix, secrets, files."""

from pathlib import Path
from typing import Any

import pytest

from config.kinds import Kind
from config.store_kinds import bucket, file_or_none, key_id, path_prefix, region, secret, store_address


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (store_address(), "", ""),
        (store_address(), "minio", "minio"),
        (store_address(), " Minio.Lab:9000 ", "minio.lab:9000"),
        (store_address(), "minio:443", "minio:443"),
        (store_address(), "http://minio:80/", "http://minio"),
        (store_address(), "https://[2001:db8::1]:9000", "https://[2001:db8::1]:9000"),
        (bucket(), "", ""),
        (bucket(), "lab.images-2", "lab.images-2"),
        (bucket(), "Lab_Images", "Lab_Images"),
        (path_prefix(), "", ""),
        (path_prefix(), "/", ""),
        (path_prefix(), "/lab/registry-2.old/", "lab/registry-2.old"),
        (region(), "us-east-1", "us-east-1"),
        (secret(), "wJalr/K7+MDENG=", "wJalr/K7+MDENG="),
        (key_id(), "test:tester", "test:tester"),
        (file_or_none("/etc/a.pem"), "", None),
        (file_or_none("/etc/a.pem"), "/etc/ca.pem", Path("/etc/ca.pem")),
    ],
)
def test_what_makes_sense_is_taken_and_shown_as_it_can_be_read_again(kind: Kind[Any], text: str, value: object) -> None:
    """H124, H125."""
    assert kind.parse(text) == value
    if not kind.secret:
        assert kind.parse(kind.show(kind.parse(text))) == value


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        (store_address(), "https://minio/images", "an endpoint has no path: the bucket goes into s3_bucket"),
        (store_address(), "minio:9000/a/b/", "an endpoint has no path"),
        (store_address(), "ftp://minio", r"expected HOST\[:PORT\] or"),
        (store_address(), "://minio", r"expected HOST\[:PORT\] or"),
        (store_address(), "minio:99999", r"expected HOST\[:PORT\] or"),
        (store_address(), "https://key:secret@minio", r"expected HOST\[:PORT\] or"),
        (bucket(), "s3://images", "the host goes into s3_endpoint"),
        (bucket(), "images/lab", "a path below it into s3_path_prefix"),
        (bucket(), "ab", "3 to 63 letters"),
        (bucket(), "a" * 64, "3 to 63 letters"),
        (bucket(), "a..b", "3 to 63 letters"),
        (bucket(), "ünicode", "3 to 63 letters"),
        (path_prefix(), "a//b", "single slashes"),
        (path_prefix(), "a/../b", "single slashes"),
        (path_prefix(), "a b", "need no escaping"),
        (path_prefix(), "a%2Fb", "need no escaping"),
        (path_prefix(), "a" * 300, "need no escaping"),
        (region(), "", "the name of a region"),
        (region(), "us east", "the name of a region"),
        (secret(), "a b", "without blanks"),
        (secret(), "ä", "printable ASCII"),
        (file_or_none("/etc/a.pem"), 5, "a file, for example"),
        (file_or_none("/etc/a.pem"), "a\0b", "a file, for example"),
        (file_or_none("/etc/a.pem"), "~nobody-of-this-name/ca.pem", "write the path in full"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_say(kind: Kind[Any], text: object, answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        kind.parse(text)
