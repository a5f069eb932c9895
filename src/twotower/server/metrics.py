"""What `/metrics` shows, in the form of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ["route", "method", "status"]
        self._requests = Counter("twotower_requests", "Requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "twotower_request_seconds",
            "Time from receiving a request's headers to sending the end of the response.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.cold_users = Counter(
            "twotower_cold_users", "Lists for users who are not in the training set.", registry=self._registry
        )
        self.empty_lists = Counter("twotower_empty_lists", "Empty lists.", registry=self._registry)
        self.partial_contexts = Counter(
            "twotower_partial_contexts",
            "Lists for requests that leave out columns of the context that the model reads.",
            registry=self._registry,
        )
        self.degraded = Counter(
            "twotower_degraded_lists", "Lists made without the event store.", registry=self._registry
        )
        self.events = Counter("twotower_events", "Events stored.", registry=self._registry)
        self.duplicates = Counter(
            "twotower_duplicate_events", "Events that were already stored.", registry=self._registry
        )
        self.reloads = Counter("twotower_reloads", "Reloads by result.", ["result"], registry=self._registry)
        self.items = Gauge("twotower_items", "Number of items in the catalogue.", registry=self._registry)
        self._model = Info("twotower_model", "The model being served.", registry=self._registry)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        key = (route, method, status)
        children = self._children.get(key)
        if children is None:
            children = (
                self._requests.labels(route, method, str(status)),
                self._seconds.labels(route),
            )
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def serving(self, version: str, items: int) -> None:
        """Note what is served."""
        self._model.info({"version": version})
        self.items.set(items)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)
