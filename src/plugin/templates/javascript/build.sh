#!/usr/bin/env bash
# Needs componentize-js: npm install
set -euo pipefail
cd "$(dirname "$0")"
# A plugin has no network: without these two, the component does not ask for it.
node_modules/.bin/componentize-js plugin.js --wit wit -n {{world}} -d http -d fetch-event -o {{module}}.wasm
