"""{{contract}}"""

import json
from typing import List, Optional, Tuple

from wit_world import exports
from wit_world.exports import meta


class Meta(exports.Meta):
    def describe(self) -> meta.Info:
        return meta.Info("{{name}}", "0.1.0", "{{kind}}", "{{description}}")


class Extractor(exports.Extractor):
    def extract(self, body: bytes, headers: List[Tuple[str, str]], config: str) -> Optional[str]:
        # An exception ends the call as a trap, which tells a config without these apart from "nothing found".
        settings = json.loads(config)
        _, found, rest = body.decode(errors="replace").partition(settings["left"])
        value, ended, _ = rest.partition(settings["right"])
        return value if found and ended else None
