#!/usr/bin/env bash
# Needs componentize-py: pip install -r requirements.txt
set -euo pipefail
cd "$(dirname "$0")"
componentize-py -d wit -w {{world}} componentize app -o {{module}}.wasm
