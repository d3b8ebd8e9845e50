"""What a bucket is looked through for: every page of it, ages by the store's clock, and nothing that is not ours."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from backends.base import KeyMissing
from backends.s3.findings import Findings
from backends.s3.settings import StoreSettings
from backends.s3.storecheck import Checked, Holdings, Known, Thing, forgotten, strangers
from model.clock import Clock
from model.errors import StorageFailed

NOW_S = 1_795_262_400.0
HOUR_AGO = datetime.fromtimestamp(NOW_S - 3600, UTC)

OF_OURS = "holdfast/uploads/47c1e684-5b1c-4d0e-9f57-0d5c3f1f2a60/0123456789abcde"


class Noon(Clock):
    """A clock that stands."""

    def now_s(self) -> float:
        return NOW_S

    def monotonic_s(self) -> float:
        return 0.0


class Pages:
    """Calls to a store that answers with one entry per page."""

    def __init__(self, objects: list[str], uploads: list[str]) -> None:
        self.objects, self.uploads = objects, uploads
        self.gone: list[dict[str, Any]] = []

    async def control(self, operation: str, **asked: Any) -> dict[str, Any]:
        if operation == "list_objects_v2":
            names = [name for name in self.objects if name.startswith(asked["Prefix"])]
            index = int(asked.get("ContinuationToken", 0))
            page = [{"Key": name, "LastModified": HOUR_AGO, "Size": 7} for name in names[index : index + 1]]
            more = index + 1 < len(names)
            return {"Contents": page, "IsTruncated": more, "NextContinuationToken": str(index + 1)}
        if operation == "list_multipart_uploads":
            names = [name for name in self.uploads if name.startswith(asked.get("Prefix", ""))]
            index = names.index(asked["KeyMarker"]) + 1 if "KeyMarker" in asked else 0
            found = [{"Key": name, "UploadId": f"id of {name}", "Initiated": HOUR_AGO} for name in names[index:][:1]]
            last = names[index] if found else ""
            return {
                "Uploads": found,
                "IsTruncated": index + 1 < len(names),
                "NextKeyMarker": last,
                "NextUploadIdMarker": "x",
            }
        self.gone.append(asked)
        if asked["Key"].endswith("stuck"):
            raise StorageFailed("not now")
        raise KeyMissing("gone already")


def looked_through(pages: Pages, *, skew_s: float = 0.0, prefix: str = "") -> Checked:
    settings = StoreSettings(bucket="b", endpoint="http://10.0.0.5", prefix=prefix)
    backend: Any = SimpleNamespace(calls=pages)
    return Checked(Findings(when_s=0.0, reachable=True, skew_s=skew_s), backend, settings, Noon())


async def test_every_page_is_looked_at() -> None:
    names = [f"lab/holdfast/uploads/u{n}/t" for n in range(5)]
    elsewhere = ["lab/docker/registry/v2/blobs/sha256/ab/x/data", "lab/holdfast/uploads/u9/t", "lab/zzz"]
    copies = ["lab/holdfast/catalog/catalog-1", "lab/holdfast/catalog/catalog-2"]
    pages = Pages([*names, *copies, "lab/other", "lab/holdfast/probe/p"], [*elsewhere, "other/x"])
    found = await looked_through(pages, prefix="lab").holdings()
    own = [*(name.removeprefix("lab/") for name in names), "holdfast/probe/p", "holdfast/uploads/u9/t"]
    assert [thing.key for thing in found.ours] == own
    assert [thing.upload_id for thing in found.ours][-1] == "id of lab/holdfast/uploads/u9/t"
    assert [thing.key for thing in found.elsewhere] == ["docker/registry/v2/blobs/sha256/ab/x/data", "zzz"]
    assert found.copies == ["catalog-1", "catalog-2"]


@pytest.mark.parametrize(("skew_s", "age_s"), [(0.0, 3600.0), (600.0, 4200.0), (-7200.0, 0.0)])
async def test_ages_are_told_by_the_stores_own_clock(skew_s: float, age_s: float) -> None:
    """A store whose clock is wrong must not make young things look old."""
    found = await looked_through(Pages(["holdfast/uploads/u/t"], []), skew_s=skew_s).holdings()
    assert [thing.age_s for thing in found.ours] == [age_s]


def test_what_has_a_row_is_known_by_its_key_or_by_the_stores_id() -> None:
    """H067."""
    row, by_id, young, old = (
        Thing(f"{OF_OURS}1", 9e9),
        Thing(f"{OF_OURS}2", 9e9, upload_id="mine"),
        Thing(f"{OF_OURS}3", 10.0),
        Thing(f"{OF_OURS}4", 3600.0),
    )
    known = Known(frozenset({row.key}), frozenset({"mine"}))
    assert forgotten(Holdings([row, by_id, young, old]), known, older_than_s=3600.0) == [old]
    assert forgotten(Holdings([row, by_id, young, old]), known, older_than_s=0.0) == [young, old]
    assert strangers(
        Holdings(elsewhere=[Thing("x", 1.0, upload_id="mine"), Thing("y", 1.0, upload_id="z")]), known
    ) == [Thing("y", 1.0, upload_id="z")]


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        (f"{OF_OURS}1", True),
        (f"{OF_OURS}1{'0' * 16}", True),
        ("holdfast/probe/0123456789abcdef", True),
        ("holdfast/probe/0123456789abcdef-copied-parts", True),
        ("holdfast/uploads/plain.txt", False),
        ("holdfast/uploads/mine/own.txt", False),
        (f"{OF_OURS}1/more", False),
        ("holdfast/probe/mine", False),
    ],
)
def test_what_somebody_else_put_there_is_never_forgotten(key: str, ours: bool) -> None:
    assert bool(forgotten(Holdings([Thing(key, 9e9)]), Known(), older_than_s=0.0)) is ours


async def test_only_what_is_ours_is_removed_and_nothing_else_is_tried() -> None:
    pages = Pages([], [])
    store = looked_through(pages, prefix="lab")
    for key in ("docker/registry/v2/blobs/x", "holdfast/catalog/catalog-1", "holdfast/uploadsX"):
        with pytest.raises(ValueError, match="below holdfast/"):
            await store.remove([Thing("holdfast/uploads/u/t", 1.0), Thing(key, 1.0)])
    assert pages.gone == []


async def test_what_is_gone_already_is_fine_and_what_stays_is_told() -> None:
    pages = Pages([], [])
    stuck, upload = Thing("holdfast/uploads/u/stuck", 1.0), Thing("holdfast/uploads/u/t", 1.0, upload_id="i")
    stay = await looked_through(pages, prefix="lab").remove([stuck, upload, Thing("holdfast/probe/p", 1.0)])
    assert stay == [stuck]
    assert pages.gone == [
        {"Key": "lab/holdfast/uploads/u/stuck"},
        {"Key": "lab/holdfast/uploads/u/t", "UploadId": "i"},
        {"Key": "lab/holdfast/probe/p"},
    ]
