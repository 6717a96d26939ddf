"""Checks what `/metrics` says, as `promtool check metrics` would and somewhat more."""

import re
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

UNITS = ("seconds", "bytes", "entries")
ABBREVIATED = re.compile(r"_(s|ms|us|sec|secs|min|kb|mb|gb|milliseconds|microseconds|kilobytes|megabytes)(_|$)")
ENDINGS = ("_bucket", "_count", "_sum", "_total", "_created")
LABELS = {"role", "state", "door", "reason", "verdict", "kind", "peer", "terms", "version", "le"}
"""All that are used: each has a few values."""


def check_exposition(text: str) -> dict[str, list[Sample]]:
    """Return the samples of each family of ours.

    Raises:
        AssertionError: it is not such as Prometheus wants it.
    """
    assert text.endswith("\n")
    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert not [name for name, count in Counter(series).items() if count > 1], "a series twice"
    for word in ("HELP", "TYPE"):
        told = Counter(line.split()[2] for line in text.splitlines() if line.startswith(f"# {word} "))
        assert not [name for name, count in told.items() if count > 1], f"{word} twice"
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("chatproto_"):
            continue
        assert family.type in ("gauge", "counter", "histogram"), f"{family.name} has no TYPE"
        assert family.documentation, f"{family.name} has no HELP"
        assert family.documentation.endswith("."), family.documentation
        assert not ABBREVIATED.search(family.name), family.name
        assert family.name == family.name.lower()
        assert family.type == "counter" or not family.name.endswith(ENDINGS), family.name
        for sample in family.samples:
            assert set(sample.labels) <= LABELS, sample
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample
                assert sample.value >= 0
        if family.type == "histogram":
            check_histogram(family.samples)
        found[family.name + "_total" * (family.type == "counter")] = list(family.samples)
    return found


def check_histogram(samples: list[Sample]) -> None:
    """Check that the buckets grow, and that the last one has all."""
    name = samples[0].name.removesuffix("_bucket")
    assert name.endswith(UNITS), name
    buckets = [(float(sample.labels["le"]), sample.value) for sample in samples if sample.name.endswith("_bucket")]
    assert buckets == sorted(buckets), name
    assert buckets[-1][0] == float("inf")
    assert [sample.value for sample in samples if sample.name.endswith("_count")] == [buckets[-1][1]]
    assert len([sample for sample in samples if sample.name.endswith("_sum")]) == 1
