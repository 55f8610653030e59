"""An extractor: the value at a path in a JSON body.

Configured by {"path": "order.lines.0.sku"}. Names go into objects, numbers into arrays; a negative one counts from the end.
"""

import json
from functools import lru_cache
from typing import Any, List, Optional, Tuple

from wit_world import exports
from wit_world.exports import meta


class Meta(exports.Meta):
    def describe(self) -> meta.Info:
        return meta.Info("json-path", "0.1.0", "extractor", "Takes the value at a path out of a JSON body")


class Extractor(exports.Extractor):
    def extract(self, body: bytes, headers: List[Tuple[str, str]], config: str) -> Optional[str]:
        steps = path(config)
        try:
            value = json.loads(body)
        except ValueError:
            return None
        for step in steps:
            try:
                value = value[int(step)] if isinstance(value, list) else value[step]
            except (KeyError, IndexError, TypeError, ValueError):
                return None
        return text(value)


# A plan has one config for each place that uses the plugin: each is read once.
@lru_cache(maxsize=64)
def path(config: str) -> Tuple[str, ...]:
    # Without a path the plan is wrong. The exception ends the call as a trap, which tells it; "nothing found" would hide it.
    return tuple(json.loads(config)["path"].split("."))


def text(value: Any) -> Optional[str]:
    """A value as it goes into a URL or a body: strings without quotes, the rest as JSON. Null is no value."""
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
