"""What the benchmark computes and reads: digests without whole blobs, medians, ratios, /proc, plans, results."""

import hashlib
import json
from pathlib import Path

import pytest

from bench import presign, signers
from bench.__main__ import CASES, chosen, most_room
from bench.case import Case, Figure, Measure, Sizes, Stage
from bench.content import KIB, Content, image_manifest
from bench.loader import BenchError, LoadFailed, read_result
from bench.parts import compared
from bench.plan import Plan, in_parts
from bench.servers import Distribution, Ours, peer
from bench.table import markdown, number, rows_of
from bench.usage import Cost, busy_ticks, cpu_ticks, parent_of, status_kib

RESULT = {
    "seconds": 2.0,
    "bytes": 4 * 1024 * 1024,
    "least_bytes": 1,
    "requests": 10,
    "errors": 0,
    "p50_ms": 1.0,
    "p99_ms": 2.0,
    "max_ms": 3.0,
    "cpu_s": 0.1,
    "statuses": {"200": 10},
    "first_error": "",
}


@pytest.mark.parametrize("size_bytes", [64, 65, 1000, 1064, 1065, 5000])
def test_a_blobs_digest_is_that_of_its_bytes(tmp_path: Path, size_bytes: int) -> None:
    pattern = bytes(range(250)) * 4
    content = Content(tmp_path / "pattern", pattern)
    blobs = content.blobs(2, size_bytes)
    for blob in blobs:
        whole = (pattern * 6)[: size_bytes - 64] + blob.tail.encode()
        assert (blob.size_bytes, blob.digest) == (len(whole), f"sha256:{hashlib.sha256(whole).hexdigest()}")
    assert blobs[0].digest != blobs[1].digest


def test_a_blob_that_is_smaller_than_its_tail_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64"):
        Content(tmp_path / "pattern", b"x").blob(63)


def test_a_padded_manifest_has_at_least_the_size_that_was_asked_for(tmp_path: Path) -> None:
    config, layer = Content(tmp_path / "pattern", b"x").blobs(2, KIB)
    manifest = image_manifest(config, [layer], at_least_bytes=1200)
    assert 1200 <= len(manifest) < 1260
    assert json.loads(manifest)["layers"][0] == {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": layer.digest,
        "size": KIB,
    }


def test_a_plan_names_what_the_generator_reads_and_repeats_whole_connections(tmp_path: Path) -> None:
    blob = Content(tmp_path / "pattern", b"x").blob(KIB)
    plan = Plan().body("m", b"{}\n").connection().push("patch", "a/b", blob).put("/v2/a/b/manifests/t", "m")
    assert plan.encoded().decode() == (
        f"body m 3\n{{}}\n\nconn\npush patch 5242880 a/b 1024 {blob.digest} {blob.tail}\n"
        "put /v2/a/b/manifests/t application/vnd.oci.image.manifest.v1+json m\n"
    )
    assert Plan().connection().get("/v2/").times(2).encoded() == b"conn\nget /v2/ -1 0\nconn\nget /v2/ -1 0\n"


def test_a_plan_of_parts_has_one_session_that_one_connection_opens_and_closes_and_all_send(tmp_path: Path) -> None:
    blob = Content(tmp_path / "pattern", b"x").blob(KIB)
    assert in_parts("a/b", blob, 300, 3, seed=7).encoded().decode().splitlines() == [
        f"session s a/b 1024 {blob.digest} {blob.tail} 300 7",
        *("conn", "open s", "send s", "close s"),
        *("conn", "send s"),
        *("conn", "send s"),
    ]


def test_one_patch_is_a_chunk_as_long_as_the_blob(tmp_path: Path) -> None:
    blob = Content(tmp_path / "pattern", b"x").blob(KIB)
    assert Plan().push("one patch", "a/b", blob).encoded().decode().split()[:3] == ["push", "patch", "1024"]


def test_the_table_has_medians_ranges_costs_and_ratios() -> None:
    def push(value: float, peak: float) -> list[Figure]:
        return [Figure("push", "MiB/s", value, cpu=1.5, cpu_unit="s/GiB", peak_rss_mib=peak)]

    rows = rows_of({"ours": [push(300, 40), push(100, 50), push(200, 45)], "theirs": [push(100, 20)]})
    assert rows[0].ratio("ours", "theirs") == 2.0
    assert markdown(rows, ["ours", "theirs"]).splitlines()[-1] == (
        "| push | MiB/s | more | 200 (100-300); 1.5 s/GiB; 50 MiB | 100; 1.5 s/GiB; 20 MiB | 2.00 |"
    )


def test_a_server_without_a_row_has_no_ratio() -> None:
    rows = rows_of({"ours": [[Figure("pull", "MiB/s", 5)]], "theirs": [[Figure("else", "ms", 0)]]})
    assert [row.ratio("ours", "theirs") for row in rows] == [None, None]
    assert markdown(rows, ["ours", "theirs"]).splitlines()[2] == "| pull | MiB/s | more | 5 | - | - |"


@pytest.mark.parametrize(
    ("value", "written"), [(1234.5, "1234"), (99.96, "100"), (1.234, "1.23"), (0.01234, "0.0123"), (0.0001, "0")]
)
def test_numbers_are_written_with_three_figures(value: float, written: str) -> None:
    assert number(value) == written


def test_a_stat_line_is_read_behind_a_name_with_spaces_and_brackets() -> None:
    line = "17 (a (b) c) S 4 17 17 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 100"
    assert (cpu_ticks(line), parent_of(line)) == (300, 4)


def test_the_machines_busy_time_is_all_but_idling_and_waiting_and_others_have_what_is_left_of_it() -> None:
    assert busy_ticks("cpu  10 20 30 4000 5000 60 70 80 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n") == 270
    assert Cost(cpu_s=2, peak_rss_mib=0, machine_cpu_s=6, wall_s=2).others(load_cpu_s=1) == 1.5


def test_memory_that_did_not_grow_grew_by_nothing() -> None:
    assert Cost(0, peak_rss_mib=80, rss_before_mib=50).rss_growth_mib == 30
    assert Cost(0, peak_rss_mib=40, rss_before_mib=50).rss_growth_mib == 0


def test_memory_is_read_from_a_status_page_and_is_nothing_without_one() -> None:
    page = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
    assert (status_kib(page, "VmHWM"), status_kib(page, "VmRSS"), status_kib("", "VmRSS")) == (2048, 1024, 0)


def test_a_result_gives_rates() -> None:
    result = read_result(json.dumps(RESULT))
    assert (result.mib_per_s, result.requests_per_s) == (2.0, 5.0)


def test_a_result_tells_the_calls_of_sessions() -> None:
    calls = {"complete": {"count": 4, "total_s": 0.2, "longest_s": 0.1}}
    result = read_result(json.dumps(RESULT | {"calls": calls, "laps_s": [1.0, 1.5]}))
    assert (result.calls["complete"].mean_ms, result.laps_s) == (50.0, [1.0, 1.5])


def test_a_result_with_errors_is_no_result() -> None:
    bad = RESULT | {"errors": 3, "first_error": "PUT /v2/x: 500", "statuses": {"500": 3}}
    with pytest.raises(LoadFailed, match="3 errors, the first: PUT /v2/x: 500"):
        read_result(json.dumps(bad))


def test_cases_are_chosen_by_name_or_by_its_beginning() -> None:
    assert [case.name for case in chosen("pull-8,push")] == ["push-1", "push-8", "push-32", "pull-8"]
    assert chosen(None) == CASES
    assert len({case.name for case in CASES}) == len(CASES)
    with pytest.raises(BenchError, match="no case is called pus"):
        chosen("pus")


def test_the_room_is_that_of_the_largest_case_on_all_servers_that_take_part() -> None:
    def opened(_: Stage) -> Measure:
        return list

    ours, theirs = Ours(Path("registry.py")), Distribution("d2", Path("/bin/registry"))
    both = Case("both", opened, room=lambda _sizes, rounds: 10 * rounds)
    parts = Case("parts", opened, rounds=2, room=lambda _sizes, rounds: 12 * rounds, of_parts=True)
    assert most_room(Sizes(), [ours, theirs], [both, parts], rounds=1) == 20
    assert most_room(Sizes(), [ours, theirs], [parts], rounds=5) == 24
    assert most_room(Sizes(), [theirs], [parts], rounds=5) == 0


def test_a_big_blob_looks_for_its_own_room() -> None:
    (big,) = chosen("parts-big")
    assert most_room(Sizes(parts_gib=20), [Ours(Path("registry.py"))], [big], rounds=5) == 21 * 1024 * KIB * KIB


def test_parts_are_put_against_the_better_of_two_bodies_there_and_against_one_put_here() -> None:
    ours, theirs = compared([800, 500, 1000]), compared([200, 300])
    assert [(figure.unit, figure.value) for figure in ours] == [("MiB/s", 1000), ("ratio", 1.25)]
    assert [(figure.row, figure.value) for figure in theirs] == [(ours[0].row, 300)]


def test_each_of_our_signers_is_compared_with_the_peers() -> None:
    figures = presign.figures({"bucket": 600, "part": 300, "botocore": 100})
    assert [figure.value for figure in figures] == [600, 300, 100, 6.0, 3.0]
    assert [figure.row for figure in figures if figure.unit == "ratio"] == [
        "presigned URLs for a bucket, / botocore",
        "signed URLs of parts, to ourselves, / botocore",
    ]


def test_signers_take_turns_and_never_sign_the_same_twice() -> None:
    asked: dict[str, list[int]] = {"a": [], "b": []}
    made = signers.rates({"a": _kept_in(asked["a"]), "b": _kept_in(asked["b"])}, 0.01)
    assert all(rate > 0 for rate in made.values())
    assert all(kept == list(range(len(kept))) and len(kept) > signers.WARM_UP for kept in asked.values())


def _kept_in(numbers: list[int]) -> signers.Signer:
    def sign(number: int) -> str:
        numbers.append(number)
        return ""

    return sign


def test_ours_and_the_peer_sign_the_same_request() -> None:
    ours, theirs = signers.s3_signer()(7).split("?"), signers.botocore_signer()(7).split("?")
    assert ours[0] == theirs[0]
    names = [sorted(part.split("=")[0] for part in query.split("&")) for _, query in (ours, theirs)]
    assert names[0] == names[1]


def test_a_peer_that_is_no_registry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot run"):
        peer("d3", tmp_path / "nothing")
    with pytest.raises(BenchError, match="tells no version"):
        peer("d3", Path("/bin/false"))


def test_a_peer_gets_a_configuration_of_its_own(tmp_path: Path) -> None:
    command = Distribution("d3", Path("/bin/registry")).command(4567, tmp_path)
    assert command == ["/bin/registry", "serve", str(tmp_path / "config.yml")]
    written = (tmp_path / "config.yml").read_text()
    assert f"rootdirectory: {tmp_path / 'data'}" in written
    assert "addr: 127.0.0.1:4567" in written
