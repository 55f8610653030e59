#!/bin/sh
# The soak of tests/soak.rs at length: so many connections (10,000) for so many seconds (60), twice; the second time the
# server is killed and started again. Needs twice as many open files as connections.
#
#   bench/soak.sh [CONNECTIONS [SECONDS]]
set -eu
cd "$(dirname "$0")/.."
export LOADR_SOAK_CONNECTIONS="${1:-10000}" LOADR_SOAK_SECONDS="${2:-60}"
ulimit -n "$(ulimit -H -n)"
exec cargo test --release --workspace --test soak -- --nocapture --test-threads 1
