#!/usr/bin/env bash
# Needs componentize-js: (cd ../tools && npm install --no-package-lock)
set -euo pipefail
cd "$(dirname "$0")"
# A plugin has no network: without these two, the component does not ask for it.
../tools/node_modules/.bin/componentize-js header-policy.js --wit ../../../plugin-host/wit -n loadr-assertion-plugin \
  -d http -d fetch-event -o header_policy.wasm
