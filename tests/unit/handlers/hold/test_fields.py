"""Words of a hold request: every casing is understood, and nothing else than what a field can be."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.hold import fields
from handlers.hold.fields import Fields, TempName
from handlers.hold.refusals import RequestInvalid, UploadIdInvalid
from model.digests import Digest
from model.errors import DigestInvalid, RegistryError, SizeInvalid
from multipart.parts import MAX_PARTS, ListedPart
from multipart.refusals import PartNumberInvalid

DIGEST = Digest.of(b"x")

CASINGS = {
    "upload_id": ["upload_id", "uploadId", "uploadID", "UploadId", "UploadID", "Upload_ID"],
    "part_number": ["part_number", "partNumber", "PartNumber"],
    "etag": ["etag", "ETag", "Etag", "eTag", "token", "Token"],
    "parts": ["parts", "Parts", "completedParts", "CompletedParts", "completed_parts"],
    "digest": ["digest", "Digest"],
    "did": ["did", "DID", "Did"],
    "part_size": ["part_size", "partSize", "PartSize"],
    "sha256": ["sha256", "SHA256", "sha256sum", "Sha256Sum"],
    "size": ["size", "Size", "filesize", "fileSize", "file_size"],
    "repository": ["repository", "Repository"],
}
SPELLED = [(name, spelling) for name, spellings in CASINGS.items() for spelling in spellings]
NO_NUMBERS: list[object] = [True, False, 1.0, 1.5, "1", [], {}, -1, 0, MAX_PARTS + 1, 2**63, 10**400]


def of(**said: object) -> Fields:
    """The fields of a JSON body."""
    return Fields.of_json(said)


@pytest.mark.parametrize(("name", "spelling"), SPELLED)
def test_a_field_is_found_under_every_spelling(name: str, spelling: str) -> None:
    """T02, T05, M13: three generations of clients, and Go structs without tags."""
    assert Fields.of_json({spelling: "value"}).said(name) == "value"


def test_what_is_not_said_is_not_found_and_null_is_not_said() -> None:
    assert of(uploadId=None, other=1).said("upload_id") is None


@pytest.mark.parametrize("body", [{"upload_id": "a", "uploadId": "b"}, {"etag": "a", "token": "b"}])
def test_a_field_said_twice_and_differently_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(RequestInvalid):
        Fields.of_json(body).said("etag")


def test_a_field_said_twice_alike_is_fine() -> None:
    assert of(upload_id="a", uploadId="a").said("upload_id") == "a"
    assert of(etag="a", token="a").said("etag") == "a"


def test_true_is_not_the_same_as_one() -> None:
    with pytest.raises(RequestInvalid):
        of(part_number=1, partNumber=True)


def test_an_upload_id_is_taken_as_it_is() -> None:
    assert fields.upload_id(of(UploadID="abc-1")) == "abc-1"


@pytest.mark.parametrize("value", [None, "", 7, True, [], {}, "x" * 257])
def test_what_cannot_be_an_upload_id_is_refused_without_being_repeated(value: object) -> None:
    """T04."""
    with pytest.raises(UploadIdInvalid) as refused:
        fields.upload_id(of(upload_id=value))
    assert "xxx" not in refused.value.message


@pytest.mark.parametrize("number", [1, 2, 9999, MAX_PARTS])
def test_part_numbers_go_from_one_to_ten_thousand(number: int) -> None:
    """H062, H097, H101."""
    assert fields.part_number(of(PartNumber=number)) == fields.part_word(str(number)) == number


@pytest.mark.parametrize("value", [None, *NO_NUMBERS], ids=repr)
def test_nothing_else_is_a_part_number(value: object) -> None:
    """H101, H150."""
    with pytest.raises(PartNumberInvalid):
        fields.part_number(of(part_number=value))


@pytest.mark.parametrize("word", ["", "0", "-1", "+1", "1.0", "01", "1e3", "10001", " 1", "1 ", "٣", "9" * 30, "x"])
def test_nothing_else_is_a_part_number_in_a_path(word: str) -> None:
    """H037."""
    with pytest.raises(PartNumberInvalid):
        fields.part_word(word)


def test_in_a_query_numbers_are_digits() -> None:
    assert fields.part_number(Fields.of_query({"partNumber": ["17"]})) == 17
    with pytest.raises(PartNumberInvalid):
        fields.part_number(Fields.of_query({"partNumber": ["1.5"]}))


@pytest.mark.parametrize("text", [str(DIGEST), f"sha512:{'0' * 128}"])
def test_a_digest_is_a_target(text: str) -> None:
    assert str(fields.target(text)) == text
    assert isinstance(fields.target(text), Digest)


@pytest.mark.parametrize("id_", ["upload-1763651234567890123", "a", "A.b_c-d", "x" * 128, ".hidden"])
def test_a_temporary_name_is_a_target(id_: str) -> None:
    """H075, H076."""
    assert fields.target(f"uploads/temp-{id_}") == TempName(id_)
    assert str(TempName(id_)) == f"uploads/temp-{id_}"


@pytest.mark.parametrize(
    "text",
    [
        "uploads/temp-",
        "uploads/temp-..",
        "uploads/temp-a..b",
        "uploads/temp-../../etc/passwd",
        "uploads/temp-a/b",
        "uploads/temp-a\\b",
        "uploads/temp-a%2fb",
        "uploads/temp-a\n",
        "uploads/temp-a\0",
        "uploads/temp-ä",
        f"uploads/temp-{'x' * 129}",
        "/uploads/temp-a",
        "../uploads/temp-a",
        "uploads/../temp-a",
        "uploads/tempa",
        "Uploads/temp-a",
        "sha256:",
        "sha256:../../etc/passwd",
        f"sha256:{'A' * 64}",
        f"sha256:{'0' * 63}",
        f"sha256:{'0' * 64}\n",
        f"sha256/{'0' * 64}",
        f"md5:{'0' * 32}",
        "etc",
        "..",
        " ",
    ],
)
def test_there_is_no_third_grammar(text: str) -> None:
    """H076: a path that leads out is neither a digest nor a temporary name."""
    with pytest.raises(DigestInvalid):
        fields.target(text)


@given(st.text(max_size=80) | st.text("./\\%2fuploadstemp-:", max_size=40).map("uploads/temp-{}".format))
def test_whatever_passes_as_a_temporary_name_stays_in_its_folder(text: str) -> None:
    """H076."""
    temp = fields.temp_name(text)
    if temp is not None:
        assert str(temp) == text
        assert set(temp.id) <= set(string.ascii_letters + string.digits + "._-")
        assert ".." not in temp.id


@pytest.mark.parametrize("value", [7, True, [], {}, ["sha256:x"]])
def test_a_digest_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(DigestInvalid):
        fields.required_target(of(digest=value))


def test_a_digest_that_is_needed_and_missing_is_refused() -> None:
    assert fields.said_target(of(digest="")) is None
    with pytest.raises(DigestInvalid):
        fields.required_target(of())


@pytest.mark.parametrize("size", [0, 1, 2**63 - 1])
def test_a_size_is_a_whole_number_of_bytes(size: int) -> None:
    assert fields.size_bytes(of(size=size)) == size
    assert fields.size_bytes(of(PartSize=size), "part_size") == size
    assert fields.size_bytes(of()) is None


@pytest.mark.parametrize("value", [-1, 2**63, 10**400, 1.0, True, "5", [], {}], ids=repr)
def test_nothing_else_is_a_size(value: object) -> None:
    with pytest.raises(SizeInvalid):
        fields.size_bytes(of(size=value))


@pytest.mark.parametrize("text", [DIGEST.hex, DIGEST.hex.upper(), str(DIGEST)])
def test_the_hash_of_a_part_is_hex_with_or_without_its_algorithm(text: str) -> None:
    """M07: the library's clients call it sha256sum."""
    assert fields.sha256(of(sha256sum=text)) == DIGEST.hex


@pytest.mark.parametrize("value", [DIGEST.hex[:-1], DIGEST.hex + "0", "g" * 64, 7, True, [], f"md5:{DIGEST.hex}"])
def test_nothing_else_is_the_hash_of_a_part(value: object) -> None:
    with pytest.raises(DigestInvalid):
        fields.sha256(of(sha256=value))


def test_a_did_is_one_word_that_a_log_can_hold() -> None:
    """H024, H151."""
    assert fields.did(of(DID="did:plc:abc123")) == "did:plc:abc123"
    assert fields.did(of(did="")) is None
    for claim in ("a b", "a\nINFO all is well", "ä", "x" * 257, 7):
        with pytest.raises(RequestInvalid):
            fields.did(of(did=claim))


def test_a_list_of_parts_is_read_in_its_order_and_in_every_casing() -> None:
    """T02, H097, H087: what the ETag says is passed on as it came."""
    listed = fields.listed_parts(
        of(
            completedParts=[
                {"partNumber": 2, "token": '"b"'},
                {"PartNumber": 1, "ETag": "W/a"},
                {"part_number": 3, "etag": "c"},
            ]
        )
    )
    assert listed == [ListedPart(2, '"b"'), ListedPart(1, "W/a"), ListedPart(3, "c")]


def test_a_list_that_is_not_there_is_empty() -> None:
    """Go writes an empty list as null."""
    assert fields.listed_parts(of(parts=None)) == fields.listed_parts(of()) == []


@pytest.mark.parametrize(
    "value",
    [
        "x",
        {},
        7,
        [7],
        [None],
        [[]],
        [{}],
        [{"part_number": 1}],
        [{"part_number": 1, "etag": ""}],
        [{"part_number": 1, "etag": 5}],
        [{"part_number": 1, "etag": "x" * 257}],
        [{"etag": "a"}],
        [{"part_number": True, "etag": "a"}],
        [{"part_number": 0, "etag": "a"}],
        [{"part_number": 10001, "etag": "a"}],
        [{"part_number": 1, "partNumber": 2, "etag": "a"}],
        [{"part_number": 1, "etag": "a"}] * (MAX_PARTS + 1),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_list_of_parts_is_refused(value: object) -> None:
    with pytest.raises(RequestInvalid):
        fields.listed_parts(of(parts=value))


def test_ten_thousand_parts_may_be_listed() -> None:
    """H101."""
    assert len(fields.listed_parts(of(parts=[{"part_number": n, "etag": "a"} for n in range(1, MAX_PARTS + 1)]))) == (
        MAX_PARTS
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(
    st.sampled_from([spelling for _, spelling in SPELLED]) | st.text(max_size=12), JSON, max_size=8
)


@given(BODIES)
def test_whatever_is_said_is_understood_or_refused_by_name(body: dict[str, object]) -> None:
    """No input makes anything but a value or an error of ours."""
    try:
        said = Fields.of_json(body)
        for read in (fields.upload_id, fields.part_number, fields.said_target, fields.size_bytes, fields.sha256):
            read(said)
        fields.listed_parts(said)
        fields.did(said)
    except RegistryError as error:
        assert json.dumps(error.message)
