"""Reads HdrHistogram logs with an implementation that is not ours, adds all up by tag, and prints figures as JSON."""
import json
import math
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader



def percentile(histogram, percent):
    """The value of the one that stands at this share of all, counted up; the library's own method rounds to the nearest."""
    rank = max(1, math.ceil(percent / 100.0 * histogram.get_total_count()))
    seen = 0
    for step in histogram.get_recorded_iterator():
        seen += step.count_added_in_this_iter_step
        if seen >= rank:
            return histogram.get_highest_equivalent_value(step.value_iterated_to)
    return 0


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
            "percentiles": {str(p): percentile(sum, p) for p in (50, 90, 95, 99, 99.9)},
        }
        for tag, sum in sums.items()
    },
}))
