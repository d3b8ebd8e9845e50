"""docs/s3.md says what the program does: its table, its settings, its words, and which stores were not tried."""

import json
import re
from typing import Final

import pytest

from backends.s3.findings import Aspect, Findings
from backends.s3.settings import StoreSettings
from config.settings import SETTINGS, Setting
from sigv4.presigning import Form
from store.layout import CATALOG_COPIES, PROBES, TEMPORARY
from tests.repo.tree import ROOT

PAGE: Final = (ROOT / "docs" / "s3.md").read_text("utf-8")


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", PAGE.partition(f"{heading}\n")[2], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("aspect", Aspect, ids=lambda aspect: aspect.name)
def test_the_table_of_the_page_is_that_of_the_command(aspect: Aspect) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith(f"    {aspect.title}  ")]
    assert len(rows) == 1


@pytest.mark.parametrize("row", [row for row in SETTINGS if row.group == "s3"], ids=lambda row: row.name)
def test_every_setting_of_a_store_is_explained(row: Setting) -> None:
    """M14."""
    assert row.name.upper() in PAGE


@pytest.mark.parametrize("heading", ["### The client disconnected", "### Storj", "### UpCloud"])
def test_the_three_troubles_that_people_asked_about_have_their_place(heading: str) -> None:
    """H161."""
    assert len(section(heading)) > 200


@pytest.mark.parametrize("store", ["UpCloud", "Storj", "AWS", "MinIO", "Garage", "SeaweedFS", "Versity", "R2"])
def test_a_store_that_was_not_tried_is_said_to_be_one(store: str) -> None:
    """H125, H196, H197: documented, unverified."""
    told = [line for line in PAGE.splitlines() if line.startswith("| ") and "**no.**" in line]
    assert len(told) == 1
    assert store in told[0]
    assert f"**{store}" in PAGE or f"**Cloudflare {store}" in PAGE or f"**{store} " in PAGE


def test_the_policy_of_the_page_can_be_given_to_aws_as_it_stands() -> None:
    text = PAGE[PAGE.index('    {"Version"') : PAGE.index("and `s3:CreateBucket`")]
    actions = [action for each in json.loads(text)["Statement"] for action in each["Action"]]
    assert {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:AbortMultipartUpload"} < set(
        actions
    )


@pytest.mark.parametrize("prefix", [TEMPORARY, CATALOG_COPIES, PROBES])
def test_what_lies_in_a_bucket_is_listed(prefix: str) -> None:
    assert f"      {prefix}" in section("## What lies where, and what a restart costs")


def test_the_lines_of_the_log_are_those_that_the_page_shows() -> None:
    """H046: what somebody looks for in the page is what the log says."""
    url = StoreSettings(bucket="images", endpoint="http://127.0.0.1:9000").base_url
    found = Findings(
        when_s=0.0,
        reachable=True,
        plain=True,
        hashed=Form.HASH,
        checks_hashes=True,
        family="header or minio",
        external=f"reached at {url}",
        multipart=True,
        server="OpenStack Swift 2.38.3",
    )
    assert [line for line in found.lines() if f"INFO holdfast.store: {line}\n" not in PAGE] == []
