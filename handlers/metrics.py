"""The metrics: what the program counts anyway, put into Prometheus' words at the moment somebody asks.

Numbers that belong to the event loop are copied on it; asking the disk and writing the text happen in a thread. Nothing
in here names a repository, a client or a secret: labels are endpoints, methods and classes of status.
"""

import asyncio
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final, Protocol

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from handlers.buffers import BufferPool
from handlers.limits import Traffic
from handlers.stats import BUCKETS_S, Stats, Tally
from model.version import VERSION
from multipart.sessions import Sessions
from store.catalog import Catalog
from store.hot import Hot

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Transport(Protocol):
    """What is asked of the HTTP server."""

    @property
    def traffic(self) -> Traffic:
        """What went through it."""
        ...

    @property
    def buffers(self) -> BufferPool:
        """What bodies are received into."""
        ...

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        ...


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """What there is to count about an object store: requests that were made to it, and those of them that failed."""

    asked: int
    failed: int
    answers: bool
    """Whether it can be used now."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number without labels. Counters only grow; Prometheus adds `_total` to their names."""

    name: str
    help: str
    value: float
    counter: bool = False


class Metrics:
    """All there is to measure, ready to be written out.

    `transport` is called when somebody asks, so the server may be made after this; so is `store`, where there is one.
    """

    def __init__(
        self,
        stats: Stats,
        sessions: Sessions,
        hot: Hot,
        catalog: Catalog,
        storage_root: Path,
        transport: Callable[[], Transport],
        store: Callable[[], StoreCounts] | None = None,
    ) -> None:
        self._stats, self._sessions, self._hot, self._catalog = stats, sessions, hot, catalog
        self._storage_root, self._transport, self._store = storage_root, transport, store

    async def text(self) -> bytes:
        """Everything, in the text format of Prometheus."""
        readings = [*self._of_connections(), *self._of_uploads(), *self._of_memory(), *self._of_store()]
        return await asyncio.to_thread(self._write, self._stats.snapshot(), readings)

    def _write(self, tallies: dict[str, Tally], readings: list[Reading]) -> bytes:
        return generate_latest(_Scrape(tallies, [*readings, *self._of_disk(), *_of_process()]))

    def _of_connections(self) -> Iterator[Reading]:
        transport = self._transport()
        traffic, buffers = transport.traffic, transport.buffers
        yield Reading("holdfast_connections", "Open connections.", transport.open_connections)
        received, sent = "Bytes received, heads included.", "Bytes sent, heads included."
        yield Reading("holdfast_received_bytes", received, traffic.received_bytes, counter=True)
        yield Reading("holdfast_sent_bytes", sent, traffic.sent_bytes, counter=True)
        refused = "Connections that were sent away because of a limit."
        yield Reading("holdfast_refused_connections", refused, traffic.refused_connections, counter=True)
        broken = "Requests that were no proper HTTP and reached no endpoint."
        yield Reading("holdfast_protocol_errors", broken, traffic.protocol_errors, counter=True)
        yield Reading("holdfast_receive_buffers_in_use", "Receive buffers in use.", buffers.in_use)
        yield Reading("holdfast_receive_buffers_waiting", "Bodies that wait for a receive buffer.", buffers.waiting)
        yield Reading("holdfast_receive_buffers_limit", "How many receive buffers there may be.", buffers.capacity)

    def _of_uploads(self) -> Iterator[Reading]:
        sessions, parted = self._sessions.all(), self._sessions.parted.all()
        receiving = sum(session.receiving is not None for session in sessions) + sum(each.receiving for each in parted)
        spooled_bytes = sum(session.offset_bytes for session in sessions) + sum(each.stored_bytes for each in parted)
        yield Reading("holdfast_upload_sessions", "Open upload sessions.", len(sessions) + len(parted))
        yield Reading("holdfast_upload_sessions_receiving", "Upload sessions that receive a body now.", receiving)
        yield Reading("holdfast_spooled_bytes", "Bytes received by open upload sessions.", spooled_bytes)

    def _of_memory(self) -> Iterator[Reading]:
        hot = self._hot
        yield Reading("holdfast_cache_entries", "Names, manifests and small blobs kept in memory.", len(hot))
        yield Reading("holdfast_cache_bytes", "What they take.", hot.used_bytes)
        yield Reading("holdfast_cache_limit_bytes", "What they may take (setting cache_bytes).", hot.limit_bytes)
        yield Reading("holdfast_catalog_commits", "Commits of the catalog.", self._catalog.commits, counter=True)

    def _of_store(self) -> Iterator[Reading]:
        if self._store is None:
            return
        counts = self._store()
        asked = "Requests to the object store, each attempt counted."
        yield Reading("holdfast_store_requests", asked, counts.asked, counter=True)
        failed = "Those that failed, or were answered with an error."
        yield Reading("holdfast_store_failures", failed, counts.failed, counter=True)
        yield Reading("holdfast_store_up", "1 while the object store can be used.", counts.answers)

    def _of_disk(self) -> Iterator[Reading]:
        """What the disk has to be asked for; what it does not tell is left out."""
        try:
            usage = shutil.disk_usage(self._storage_root)
            yield Reading("holdfast_storage_free_bytes", "Free bytes of the storage's file system.", usage.free)
            yield Reading("holdfast_storage_size_bytes", "Size of the storage's file system.", usage.total)
            size_bytes = self._catalog.path.stat().st_size
            yield Reading("holdfast_catalog_bytes", "Size of the catalog's file.", size_bytes)
        except OSError:
            return


def _of_process() -> Iterator[Reading]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime
    yield Reading("holdfast_cpu_seconds", "Processor time used by the process.", cpu_s, counter=True)
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            rss_bytes = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        rss_bytes = used.ru_maxrss * 1024  # where there is no such file: the most there ever was
    yield Reading("holdfast_resident_memory_bytes", "Memory of the process.", rss_bytes)


class _Scrape(Collector):
    """One answer's worth of numbers, which nobody changes any more."""

    def __init__(self, tallies: dict[str, Tally], readings: list[Reading]) -> None:
        self._tallies, self._readings = sorted(tallies.items()), readings

    def collect(self) -> Iterator[Metric]:
        """Everything, family by family."""
        info = GaugeMetricFamily("holdfast_info", "Which version runs.", labels=["version"])
        info.add_metric([VERSION], 1)
        yield info
        yield from self._of_requests()
        for reading in self._readings:
            family = CounterMetricFamily if reading.counter else GaugeMetricFamily
            yield family(reading.name, reading.help, value=reading.value)

    def _of_requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "holdfast_requests", "Requests answered.", labels=["endpoint", "method", "status"]
        )
        durations = HistogramMetricFamily(
            "holdfast_request_duration_seconds", "From a request's head to the end of its answer.", labels=["endpoint"]
        )
        sent = CounterMetricFamily("holdfast_response_bytes", "Bytes of answers' bodies.", labels=["endpoint"])
        gone = CounterMetricFamily(
            "holdfast_clients_gone", "Clients that left before their answer was through.", labels=["endpoint"]
        )
        for endpoint, tally in self._tallies:
            for (method, status), count in sorted(tally.requests.items()):
                requests.add_metric([endpoint, method, status], count)
            durations.add_metric([endpoint], _buckets(tally.durations), tally.seconds)
            sent.add_metric([endpoint], tally.sent_bytes)
            gone.add_metric([endpoint], tally.gone)
        return iter((requests, durations, sent, gone))


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """The counts as Prometheus wants them: each bucket holds what is in those below it as well."""
    return list(zip([*map(str, BUCKETS_S), "+Inf"], accumulate(counts), strict=True))
