#!/usr/bin/env bash
# The full protocol on one GPU: methods x training seeds, several jobs side by side, each resumable.
#   experiments/gender_fairness/full.sh EXPERIMENT "METHODS" "SEEDS" [OVERRIDES...]
# Stops by itself after MAX_SECONDS (default: never); the same command goes on from there.
set -uo pipefail
experiment=$1 methods=$2 seeds=$3
shift 3
: "${MAX_SECONDS:=0}" "${JOBS:=4}" "${PYTHON:=python}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
remaining() { [ "$MAX_SECONDS" -eq 0 ] && echo 0 || echo $((MAX_SECONDS > SECONDS ? MAX_SECONDS - SECONDS : 1)); }
job() { timeout "$(remaining)" "$PYTHON" -m hspace_exp +experiment="$experiment" protocol=full logger=none "$@" >> "outputs/full_$$.log" 2>&1; }
left() { [ "$MAX_SECONDS" -eq 0 ] || [ "$SECONDS" -lt "$MAX_SECONDS" ]; }
mkdir -p outputs
# What jobs share comes first, so that none makes it twice.
job method=original "$@" &
for method in $methods; do
  left && job method="$method" 'stages=[concepts,masks]' "$@"
done
wait
for seed in $seeds; do
  for method in $methods; do
    left || break
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do sleep 0.5; done
    job method="$method" seed="$seed" "$@" &
  done
done
wait
find "outputs/$experiment" -name record.json | sort
