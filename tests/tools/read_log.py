"""Reads HdrHistogram logs with an implementation that is not ours, adds all up by tag, and prints figures as JSON."""
import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

sums = {}
lines = 0
for name in sys.argv[1:]:
    reader = HistogramLogReader(name, HdrHistogram(1, 3_600_000_000_000, 3))
    while True:
        one = reader.get_next_interval_histogram()
        if one is None:
            break
        lines += 1
        tag = one.get_tag() or ""
        if tag not in sums:
            sums[tag] = HdrHistogram(1000, 3_600_000_000_000, 3)
        sums[tag].add(one)
print(json.dumps({
    "lines": lines,
    "tags": {
        tag: {
            "count": sum.get_total_count(),
            "percentiles": {str(p): sum.get_value_at_percentile(p) for p in (50, 90, 95, 99, 99.9)},
        }
        for tag, sum in sums.items()
    },
}))
