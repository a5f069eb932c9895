"""What `/metrics` shows, in the form of Prometheus and by its naming conventions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """The counters of one server. ``run`` is the name of a model."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        answer, run = ["route", "method", "status"], ["run"]
        self._requests = self._counter("twotower_requests", "Requests answered.", answer)
        self._seconds = self._histogram(
            "twotower_request_duration_seconds",
            "Time from receiving a request's headers to sending the end of the response.",
            answer,
        )
        self._in_flight = self._gauge("twotower_requests_in_flight", "Requests in progress.")
        self._lists = self._counter("twotower_lists", "Lists made.", run)
        self._list_seconds = self._histogram(
            "twotower_list_duration_seconds", "Time to make the lists of up to 64 users of a request.", run
        )
        self._cold = self._counter(
            "twotower_cold_users", "Lists for users who are not in the training set.", run
        )
        self._empty = self._counter("twotower_empty_lists", "Empty lists.", run)
        self._partial = self._counter(
            "twotower_partial_contexts",
            "Lists for requests that leave out columns of the context that the model reads.",
            run,
        )
        self._degraded = self._counter("twotower_degraded_lists", "Lists made without the event store.", run)
        self._shadows = self._counter("twotower_shadow_lists", "Lists of the shadow.", ["run", "result"])
        self._shadow_seconds = self._histogram(
            "twotower_shadow_duration_seconds", "Time to make a list of the shadow.", run
        )
        self._overlap = self._histogram(
            "twotower_shadow_overlap_ratio",
            "Share of the items that the shadow's list and the answer have in common.",
            run,
            _SHARES,
        )
        self.events = self._counter("twotower_events", "Events stored.")
        self.duplicates = self._counter("twotower_duplicate_events", "Events that were already stored.")
        self.reloads = self._counter("twotower_reloads", "Reloads by result.", ["run", "result"])
        self._share = self._gauge("twotower_traffic_ratio", "Share of the users that a model answers.", run)
        self._items = self._gauge("twotower_items", "Number of items in the catalogue.", run)
        self._model = self._gauge("twotower_model_info", "The model being served.", ["run", "version"])
        self._loaded = self._gauge(
            "twotower_model_loaded_timestamp_seconds", "When the model was loaded, seconds since 1970.", run
        )
        self._age = self._gauge("twotower_model_age_seconds", "Time since the model was loaded.", run)
        self._lost = self._gauge("twotower_exposures_lost", "Exposures that were not kept.")
        self._drift = self._gauge(
            "twotower_drift_ratio",
            "How far events are from what the first model was trained on, 0 to 1: distance of the shares of "
            "labels and of popular items, and share of events of new users.",
            ["of"],
        )
        self._store_seconds = self._histogram(
            "twotower_store_operation_duration_seconds",
            "Time of an operation of the event store.",
            ["operation"],
        )
        self._store_errors = self._counter(
            "twotower_store_errors", "Operations of the event store that failed.", ["operation"]
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def _counter(self, name: str, text: str, labels: list[str] | None = None) -> Counter:
        return Counter(name, text, labels or [], registry=self._registry)

    def _gauge(self, name: str, text: str, labels: list[str] | None = None) -> Gauge:
        return Gauge(name, text, labels or [], registry=self._registry)

    def _histogram(
        self, name: str, text: str, labels: list[str], buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self._registry, buckets=buckets)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        key = (route, method, status)
        children = self._children.get(key)
        if children is None:
            labels = (route, method, str(status))
            children = (self._requests.labels(*labels), self._seconds.labels(*labels))
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def listed(
        self, run: str, seconds: float, *, lists: int, cold: int, empty: int, degraded: int, partial: int
    ) -> None:
        """Count lists that were made by one model together."""
        self._list_seconds.labels(run).observe(seconds)
        counts = (lists, cold, empty, degraded, partial)
        counters = (self._lists, self._cold, self._empty, self._degraded, self._partial)
        for counter, count in zip(counters, counts, strict=True):
            counter.labels(run).inc(count)

    def shadow(
        self, run: str, result: str, lists: int = 1, seconds: float = 0.0, overlap: float = 0.0
    ) -> None:
        """Count lists of the shadow: answered (one at a time, with its time), failed or dropped."""
        self._shadows.labels(run, result).inc(lists)
        if result == "answered":
            self._shadow_seconds.labels(run).observe(seconds)
            self._overlap.labels(run).observe(overlap)

    def serving(self, models: Iterable[Mapping[str, Any]]) -> None:
        """Note what is served, as `Service.serving` says it."""
        self._model.clear()
        for one in models:
            run = one["run"]
            self._model.labels(run, one["model"]).set(1)
            self._items.labels(run).set(one["items"])
            self._loaded.labels(run).set(one["loaded"])
            self._age.labels(run).set(max(0.0, time.time() - one["loaded"]))
            self._share.labels(run).set(one["share"] / 100.0)

    def drifting(self, values: Mapping[str, float]) -> None:
        """Note how far events are from the training set; see `Drift.values`."""
        self._drift.clear()
        for name, value in values.items():
            self._drift.labels(name).set(value)

    def text(self, *, in_flight: int, lost: int) -> bytes:
        """Return all of it as Prometheus reads it."""
        self._in_flight.set(in_flight)
        self._lost.set(lost)
        return generate_latest(self._registry)

    def stored(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Count an operation of the event store."""
        self._store_seconds.labels(operation).observe(seconds)
        if failed:
            self._store_errors.labels(operation).inc()
