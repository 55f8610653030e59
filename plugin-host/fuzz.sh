#!/bin/sh
# Fuzzes plans, data files and templates, manifests and the plugin loader for a minute per target, or for as many seconds as given.
set -eu
cd "$(dirname "$0")/.."
LOADR_FUZZ_SECONDS="${1:-60}" exec cargo test --release --workspace --test fuzz -- --nocapture
