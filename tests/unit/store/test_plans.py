"""How the questions that are asked all the time are answered by SQLite: through an index, however much there is."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from model.digests import Digest
from store.transactions import Row, Transaction, Values
from tests.unit.store.shop import EMPTY_DIGEST, Shop, described, image, shop

DIGEST = Digest.of(image())

QUESTIONS: dict[str, Callable[[Shop], Awaitable[object]]] = {
    "a manifest by tag": lambda store: store.manifests.get("a", "v1"),
    "a manifest by digest": lambda store: store.manifests.get("a", DIGEST),
    "what a tag points at": lambda store: store.tags.resolve("a", "v1"),
    "a page of tags": lambda store: store.tags.page("a", 10, "m"),
    "a page of repositories": lambda store: store.repositories.page(10, "m"),
    "the size of a blob": lambda store: store.blobs.size("a", EMPTY_DIGEST),
    "who has a blob": lambda store: store.blobs.holders(EMPTY_DIGEST),
    "who refers to a manifest": lambda store: store.referrers_of("a", DIGEST),
    "who of some types refers to a manifest": lambda store: store.referrers_of("a", DIGEST, "x/1", "x/2"),
    "pushing a blob": lambda store: store.push_blob("a", b"new"),
    "mounting a blob": lambda store: store.blobs.mount("b", EMPTY_DIGEST, "a"),
    "pushing a manifest": lambda store: store.push("a", image("new", subject=described(DIGEST)), "v1", "v2"),
    "copying a tag": lambda store: store.tags.copy("a", "v1", "v3"),
    "deleting a tag": lambda store: store.manifests.delete_tag("a", "v1"),
    "deleting a manifest": lambda store: store.manifests.delete("a", DIGEST),
    "deleting a blob": lambda store: store.blobs.delete("a", EMPTY_DIGEST),
    "deleting a repository": lambda store: store.repositories.delete("a"),
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_it_takes_no_longer_in_a_large_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    scans: list[str] = []
    asked: list[str] = []

    def watched(really: Callable[..., object]) -> Callable[..., object]:
        def ask(tx: Transaction, sql: str, values: Values = ()) -> object:
            plan: list[Row] = tx._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
            asked.append(sql)
            scans.extend(
                f"{row[3]} in {sql}" for row in plan if row[3].startswith("SCAN") and row[3] != "SCAN CONSTANT ROW"
            )
            return really(tx, sql, values)

        return ask

    async with shop(tmp_path) as store:
        await store.push_image("a", "v1")
        with monkeypatch.context() as patched:
            for verb in ("one", "all", "each", "execute"):
                patched.setattr(Transaction, verb, watched(getattr(Transaction, verb)))
            await QUESTIONS[question](store)
    assert asked
    assert scans == []
