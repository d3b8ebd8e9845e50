"""`storage check`: whether the object store does what we need, what is done where it does not, and what it forgot.

The store is asked from here, with the settings of the server, whether that runs or not. Only the catalog knows what in
the bucket is still needed: it is asked as for any other command (`admin/asking.py`), and after the bucket was looked
through.
"""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final

from admin.asking import NotDone, ask, require_registry
from admin.operations import Answer
from admin.rendering import clean, counted, table
from backends.s3.addresses import external_url
from backends.s3.findings import Aspect, Findings, Step
from backends.s3.storecheck import YOUNG_S, Checked, Known, Thing, checked, forgotten, strangers
from cli import Invocation, UsageError, mention, say
from config import Config
from config.checks import check_store
from model.clock import SystemClock
from model.errors import RegistryError
from model.units import human_bytes, human_span
from store.backups import taken_at_s
from store.right_store import OtherRegistry, Owner, owner_of
from stores import session_maker, store_settings

NEEDED: Final = frozenset(
    {Aspect.REACH, Aspect.WRITE, Aspect.READ, Aspect.RANGE, Aspect.LIST, Aspect.MULTIPART}
    | {Aspect.COPY, Aspect.COPY_PARTS, Aspect.CLOCK, Aspect.CLEAN}
)
"""What there is no way around. All else has one, and is found by itself."""
SHOWN_AT_MOST: Final = 20
UNFINISHED: Final = "unfinished upload"


def check(invocation: Invocation) -> int:
    """Do `storage check` and tell it; the exit code.

    Raises:
        NotDone: there is no telling what may be removed. UsageError: there is no object store, or no registry.
    """
    config, options = invocation.config, invocation.options
    if config.storage_driver != "s3":
        raise UsageError(
            f"{config.said('storage_driver')}: there is no object store to check; say STORAGE_DRIVER=s3 to check one"
        )
    check_store(config)
    logging.getLogger("holdfast.store").addHandler(logging.NullHandler())  # it is all in the answer
    if options.fix:
        require_registry(config.data_dir)
    mention(f"asking the store {store_settings(config).base_url} ...")
    answer = asyncio.run(_check(config, fix=options.fix))
    say(json.dumps(answer, indent=2) if options.json else "\n".join(told(answer)))
    return 0 if answer["good"] else 1


async def _check(config: Config, *, fix: bool) -> Answer:
    settings, clock = store_settings(config), SystemClock()
    async with checked(settings, clock, session_maker(config)) as store:
        found = store.findings
        answer: Answer = {
            "store": found.server,
            "settings": _settings(config, settings.base_url, external_url(settings), store.key_id),
            "steps": [_step(aspect, found) for aspect in Aspect],
            "native": found.native,
            "why_not": found.why_not,
            "payload_hashes": found.family,
            "trouble": found.trouble,
        }
        good = _is_good(found, external_said=bool(settings.external_endpoint))
        if found.reachable:
            answer |= await _remains(config, store, fix=fix)
        bad = answer.get("stay") or answer.get("unknown") or answer.get("wrong_bucket")
        return {"good": good and not bad, **answer}


def _is_good(found: Findings, *, external_said: bool) -> bool:
    """Whether it does all that is needed, and the address that clients were given works if one was set."""
    wanted = NEEDED | ({Aspect.PLAIN} if external_said else set())
    return found.reachable and not any(step.works is False and step.aspect in wanted for step in found.steps)


def _settings(config: Config, url: str, external: str, key_id: str) -> dict[str, str]:
    """What was asked with; never a secret."""
    told = {"endpoint": url, "external endpoint": external if external != url else "the same"}
    told["bucket"] = config.s3_bucket + (f", below {config.s3_path_prefix}/" if config.s3_path_prefix else "")
    told["region"] = config.s3_region
    told["addressing style"] = config.s3_addressing_style
    if url.startswith("https:"):
        told["trusted"] = f"{config.s3_ca_file} and the machine's own" if config.s3_ca_file else "the machine's own"
    others = {config.aws_access_key_id, config.s3_other_access_key_id} - {"", key_id}
    where = config.s3_credentials_file or (None if others or config.aws_access_key_id else "where AWS's own tools look")
    told["key id"] = f"{key_id or 'not known'} ({where})" if where else key_id
    if others:
        told["other key id"] = ", ".join(sorted(others))
    return told


def _step(aspect: Aspect, found: Findings) -> Answer:
    step = next((step for step in found.steps if step.aspect is aspect), Step(aspect, None))
    return {
        "what": aspect.title,
        "works": step.works,
        "slow": step.slow,
        "ms": round(step.took_s * 1000),
        "told": step.told,
        "instead": aspect.instead if step.works is False else "",
    }


async def _remains(config: Config, store: Checked, *, fix: bool) -> Answer:
    """What lies in the bucket and nobody knows any more, and what became of it."""
    try:
        holdings = await store.holdings()
        owner = await owner_of(store.backend) if store.backend else None
    except RegistryError as error:
        return {"unknown": f"the bucket cannot be looked through: {error}"}
    try:
        require_registry(config.data_dir)
    except UsageError as missing:
        whose = f"; the bucket belongs to {owner}" if owner else ""
        return {"forgotten": None, "why_unknown": f"{missing}{whose}", "bucket_of": _id(owner)}
    answer = await asyncio.to_thread(ask, config, "storage.known")
    foreign = _not_ours(owner, answer["registry"])
    if not foreign and not answer["content"] and any(taken_at_s(name) is not None for name in holdings.copies):
        foreign = "the catalog here is empty, but the bucket has copies of one: `registry.py restore --list` shows them"
    if foreign and fix:
        raise NotDone(f"nothing was removed: {foreign}")
    if foreign:
        wrong = owner is not None and owner.id != answer["registry"]
        return {"forgotten": None, "why_unknown": foreign, "bucket_of": _id(owner), "wrong_bucket": wrong}
    known = Known(frozenset(answer["keys"]), frozenset(answer["upload_ids"]))
    unknown = forgotten(holdings, known, older_than_s=0.0)
    things = [thing for thing in unknown if thing.age_s >= YOUNG_S or not answer["serving"]]
    stay = await store.remove(things) if fix else []
    return {
        "forgotten": [_thing(thing) for thing in things],
        "removed": len(things) - len(stay) if fix else 0,
        "stay": [_thing(thing) for thing in stay],
        "too_young": len(unknown) - len(things),
        "bucket_of": _id(owner),
        "strangers": [_thing(thing) for thing in strangers(holdings, known)],
    }


def _not_ours(owner: Owner | None, own_id: str | None) -> str:
    """Why the catalog has no say in what is forgotten in the bucket; empty when it has."""
    if owner is None:
        return "the bucket does not say yet which registry it belongs to; start the server on it once"
    if owner.id != own_id:
        return str(OtherRegistry(owner, own_id or "none yet"))
    return ""


def _id(owner: Owner | None) -> str | None:
    return None if owner is None else owner.id


def _thing(thing: Thing) -> Answer:
    kind = UNFINISHED if thing.upload_id else "object"
    return {"key": thing.key, "kind": kind, "size_bytes": thing.size_bytes, "age_s": round(thing.age_s)}


def told(answer: Answer) -> Iterator[str]:
    """The answer as a person reads it."""
    if answer["store"] or not answer["trouble"]:
        yield f"{'store':<19}{clean(answer['store']) or 'does not say its name'}"
    yield from (f"{name:<19}{clean(value)}" for name, value in answer["settings"].items())
    yield ""
    if not answer["trouble"] or any(step["works"] for step in answer["steps"]):
        yield from table(["WHAT", "RESULT", "TIME>", "REMARK"], [_row(step) for step in answer["steps"]])
        yield ""
    yield from _verdict(answer)
    yield from _told_remains(answer)


def _row(step: Answer) -> list[object]:
    result = {None: "not tried", False: "no", True: "slow" if step["slow"] else "works"}[step["works"]]
    remark = "; ".join(part for part in (step["told"], step["instead"]) if part)
    return [step["what"], result, f"{step['ms']} ms" if step["ms"] else "", remark]


def _verdict(answer: Answer) -> Iterator[str]:
    if answer["trouble"]:
        yield f"The store cannot be used: {clean(answer['trouble'])}."
    elif answer["native"]:
        yield f"Clients send parts straight to the store (native). Family: {answer['payload_hashes']}."
    else:
        yield f"Parts come through this server (buffered): {clean(answer['why_not'])}."


def _told_remains(answer: Answer) -> Iterator[str]:
    if "unknown" in answer:
        yield clean(answer["unknown"])
    if "forgotten" not in answer:
        return
    things = answer["forgotten"]
    if things is None:
        yield f"What is forgotten in the bucket cannot be said: {clean(answer['why_unknown'])}"
        return
    if not things:
        older = " older than an hour" if answer["too_young"] else ""
        yield f"Nothing{older} in the bucket is forgotten."
    elif answer["removed"]:
        yield f"Removed {counted(answer['removed'], 'forgotten thing')}."
    else:
        yield f"{counted(len(things), 'forgotten thing')} in the bucket; --fix removes them:"
        yield from _listed(things)
    if answer["too_young"]:
        yield f"{counted(answer['too_young'], 'younger thing')} may be: too young to tell while the server runs."
    if answer["stay"]:
        yield f"{counted(len(answer['stay']), 'thing')} could not be removed; try again later:"
        yield from _listed(answer["stay"])
    if answer["strangers"]:
        yield "Unfinished uploads under other keys, which the catalog does not know. They may be another program's"
        yield "and are left alone; a lifecycle rule that aborts such uploads, or the store's own tools, remove them:"
        yield from _listed(answer["strangers"])


def _size(thing: dict[str, Any]) -> str:
    """Empty where the store does not say it: the parts of an unfinished upload are in no listing."""
    return "" if thing["kind"] == UNFINISHED else human_bytes(thing["size_bytes"])


def _listed(things: Sequence[dict[str, Any]]) -> Iterator[str]:
    rows = [[each["key"], each["kind"], _size(each), human_span(each["age_s"])] for each in things]
    yield from (f"  {line}" for line in table(["KEY", "KIND", "SIZE>", "AGE>"], rows[:SHOWN_AT_MOST]))
    if len(rows) > SHOWN_AT_MOST:
        yield f"  and {len(rows) - SHOWN_AT_MOST} more"
