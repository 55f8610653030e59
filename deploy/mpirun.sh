#!/bin/bash
# One plan on several machines by Open MPI (or another launcher with `mpirun`): a segment a rank, one summary of all.
#
#   HOSTS=a:1,b:1,c:1 deploy/mpirun.sh plan.yaml [RESULTS]
#
# RESULTS is a folder that every host sees. What comes after it goes to `loadr-fast run`. Without HOSTS all ranks run here,
# RANKS of them (2). MPIRUN_FLAGS goes to `mpirun`. LOADR_LEAD: how many seconds the slowest has to load the plan (15).
set -euo pipefail

plan=${1:?which plan: mpirun.sh plan.yaml [RESULTS]}
results=${2:-results-$(date +%s)}
shift; [ "$#" -eq 0 ] || shift
mkdir -p "$results"

where=(-n "${RANKS:-2}")
[ -z "${HOSTS:-}" ] || where=(--host "$HOSTS" --map-by node)
start_at=$(($(date +%s) + ${LOADR_LEAD:-15}))

# Ranks are not to be bound by MPI: shards are pinned to cores as `--cores` says.
# shellcheck disable=SC2086
mpirun ${MPIRUN_FLAGS:-} "${where[@]}" --bind-to none \
    loadr-fast run --quiet --start-at "$start_at" --histograms "$results/{segment}.hlog" "$@" "$plan"
loadr-fast merge "$results" -o "$results/summary.json"
