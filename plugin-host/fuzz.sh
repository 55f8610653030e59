#!/bin/sh
# Fuzzes plans, data files and templates, manifests, the plugin loader and responses for a minute per target, or for as many seconds as given.
set -eu
cd "$(dirname "$0")/.."
export LOADR_FUZZ_SECONDS="${1:-60}"
cargo test --release --workspace --test fuzz -- --nocapture
exec cargo test --release --workspace --lib -- fuzz:: --nocapture
