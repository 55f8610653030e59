#!/usr/bin/env bash
# Needs Go 1.25 or later, and once: go mod tidy && npm install
set -euo pipefail
cd "$(dirname "$0")"
# Go's runtime support reaches into the runtime by name, which the linker has to allow.
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-checklinkname=0 -s -w" -o core.wasm .
node component.mjs wit/loadr.wit {{world}} core.wasm {{module}}.wasm
rm core.wasm
