"""`merged`: the metrics of several workers as those of one server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

_SUMMED_GAUGES = ("in_flight", "in_progress", "resident", "virtual", "cpu", "open_fds")
"""Parts of the names of gauges that add up; of others the largest value counts."""


def merged(texts: Sequence[str]) -> str:
    """Return metrics in the form of Prometheus: counters and histograms added up.

    Gauges that count what each worker has (requests in flight, memory) are added up too; of others, such as
    the age of the model, the largest is taken.

    Args:
        texts: of each worker.
    """
    return generate_latest(_Merged(texts)).decode()


class _Merged:
    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once; see `prometheus_client.registry.Collector`."""
        found: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for family in (one for text in self._texts for one in text_string_to_metric_families(text)):
            if family.name.endswith("_created"):
                continue
            found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            own = values.setdefault(family.name, {})
            adds = family.type != "gauge" or any(part in family.name for part in _SUMMED_GAUGES)
            for name, labels, value, *_ in family.samples:
                key = (name, tuple(labels.items()))
                earlier = own.get(key)
                own[key] = value if earlier is None else earlier + value if adds else max(earlier, value)
        for of, metric in found.items():
            for (name, pairs), value in values[of].items():
                metric.add_sample(name, dict(pairs), value)
            yield metric
