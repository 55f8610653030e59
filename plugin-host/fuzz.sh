#!/bin/sh
# Fuzzes the manifest and the loader for a minute per target, or for as many seconds as given.
set -eu
cd "$(dirname "$0")/.."
LOADR_FUZZ_SECONDS="${1:-60}" exec cargo test --release --workspace --test fuzz -- --nocapture
