#!/usr/bin/env bash
# Needs Go 1.25 or later, and jco: (cd ../tools && npm install --no-package-lock)
set -euo pipefail
cd "$(dirname "$0")"
# Go's runtime support reaches into the runtime by name, which the linker has to allow.
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-checklinkname=0 -s -w" -o core.wasm .
node ../tools/component.mjs ../../../plugin-host/wit/loadr.wit loadr-plugin core.wasm query_value.wasm
rm core.wasm
