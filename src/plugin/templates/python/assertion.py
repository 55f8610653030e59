"""{{contract}}"""

import json
from typing import List, Tuple

from wit_world import exports
from wit_world.exports import assertion, meta


class Meta(exports.Meta):
    def describe(self) -> meta.Info:
        return meta.Info("{{name}}", "0.1.0", "{{kind}}", "{{description}}")


class Assertion(exports.Assertion):
    def check(
        self, status: int, body: bytes, headers: List[Tuple[str, str]], duration_ms: float, config: str
    ) -> assertion.Verdict:
        # An exception ends the call as a trap, which tells a config without it apart from a response that fails.
        text = json.loads(config)["text"]
        if status != 200:
            return assertion.Verdict(False, f"status {status}, expected 200")
        if text not in body.decode(errors="replace"):
            return assertion.Verdict(False, f'the body does not contain "{text}"')
        return assertion.Verdict(True, "")
