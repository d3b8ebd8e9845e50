"""What the benchmark computes and reads: digests without whole blobs, medians, ratios, /proc, plans, results."""

import hashlib
import json
from pathlib import Path

import pytest

from bench.__main__ import CASES, chosen
from bench.case import Figure
from bench.content import KIB, Content, image_manifest
from bench.loader import BenchError, LoadFailed, read_result
from bench.plan import Plan
from bench.servers import Distribution, peer
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


def test_memory_is_read_from_a_status_page_and_is_nothing_without_one() -> None:
    page = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
    assert (status_kib(page, "VmHWM"), status_kib(page, "VmRSS"), status_kib("", "VmRSS")) == (2048, 1024, 0)


def test_a_result_gives_rates() -> None:
    result = read_result(json.dumps(RESULT))
    assert (result.mib_per_s, result.requests_per_s) == (2.0, 5.0)


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
