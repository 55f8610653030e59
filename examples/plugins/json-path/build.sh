#!/usr/bin/env bash
# Needs componentize-py: pip install -r ../tools/requirements.txt
set -euo pipefail
cd "$(dirname "$0")"
componentize-py -d ../../../plugin-host/wit -w loadr-plugin componentize app -o json_path.wasm
