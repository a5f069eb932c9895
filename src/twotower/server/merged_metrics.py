"""`merged`: the metrics of several workers as those of one server."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

_SUMMED_GAUGES = ("in_flight", "in_progress", "resident", "virtual", "cpu", "open_fds")
"""What gauges are called that add up; of others the largest value counts."""


def merged(texts: Sequence[str]) -> str:
    """Return metrics in the form of Prometheus: counters and histograms added up.

    Gauges that count what each worker has (requests in flight, memory) are added up too; of others, such as
    the age of the model, the largest is taken.

    Args:
        texts: of each worker.
    """
    heads: dict[str, tuple[str, str]] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            heads.setdefault(family.name, (family.type, family.documentation))
            adds = family.type in ("counter", "histogram", "summary") or any(
                part in family.name for part in _SUMMED_GAUGES
            )
            own = values.setdefault(family.name, {})
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                key = (sample.name, tuple(sorted(sample.labels.items())))
                before = own.get(key)
                value = float(sample.value)
                own[key] = value if before is None else before + value if adds else max(before, value)
    lines = []
    for name, (kind, says) in heads.items():
        full = f"{name}_total" if kind == "counter" else name
        lines += [f"# HELP {full} {_escaped(says)}", f"# TYPE {full} {kind}"]
        for (sample_name, labels), value in values[name].items():
            said = ",".join(f'{label}="{_escaped(of, quotes=True)}"' for label, of in labels)
            lines.append(f"{sample_name}{'{' + said + '}' if said else ''} {value!r}")
    return "\n".join(lines) + "\n"


def _escaped(text: str, *, quotes: bool = False) -> str:
    made = text.replace("\\", r"\\").replace("\n", r"\n")
    return made.replace('"', r"\"") if quotes else made
