#!/bin/bash
# One plan on several machines of a Slurm cluster: a segment a node, all from one instant on, one summary of all.
#
#   sbatch --nodes=8 deploy/slurm.sh plan.yaml [RESULTS]
#
# RESULTS is a folder that every node sees; the plan and its files must be seen by them, too. What comes after it goes to
# `loadr-fast run`. LOADR_LEAD: how many seconds the slowest node has to load the plan (30).
#SBATCH --job-name=loadr-fast
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=01:00:00
set -euo pipefail

plan=${1:?which plan: sbatch slurm.sh plan.yaml [RESULTS]}
results=${2:-results-$SLURM_JOB_ID}
shift; [ "$#" -eq 0 ] || shift
mkdir -p "$results"

# Asked for once, here, so that it is one instant for all.
start_at=$(($(date +%s) + ${LOADR_LEAD:-30}))

# Each task is told by Slurm which it is of how many. One that fails does not end the others: their results are worth having.
status=0
srun --kill-on-bad-exit=0 loadr-fast run --quiet --start-at "$start_at" --histograms "$results/{segment}.hlog" "$@" "$plan" \
    || status=$?
loadr-fast merge "$results" -o "$results/summary.json" || status=$?
exit "$status"
