#!/usr/bin/env bash
# Train every method (demo protocol) and sweep its strength on validation images; one JSON a method in RESULTS.
#   experiments/h_space_comparison/tune.sh RESULTS [OVERRIDES...]
set -uo pipefail
results=$1
shift
: "${JOBS:=4}" "${PYTHON:=python}" "${IMAGES:=8}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
mkdir -p "$results"
declare -A strengths=(
  [sdid]="0.75 1 1.25 1.5 2 2.5" [score_matching]="1 2 3 4 6 8" [respodiff]="0.5 0.75 1 1.5 2 3" [pca]="1 2 3 4 6 8"
  [h_guidance]="0.5 1 2 4 8 16" [lwim]="0.75 1 1.25 1.5 1.75 2" [focused]="2 2.5 3 3.5 4"
)
one() {
  local method=$1 run=$results/run/$1
  shift
  "$PYTHON" -m hspace_exp +experiment=h_space_comparison method="$method" logger=none "stages=[concepts,masks,training]" \
    hydra.run.dir="$run" "$@" > "$results/$method.log" 2>&1 &&
    "$PYTHON" experiments/h_space_comparison/choose_strength.py "$run" --images "$IMAGES" --strengths ${strengths[$method]} \
      --out "$results/$method.json" >> "$results/$method.log" 2>&1 || tail -n 2 "$results/$method.log"
}
for method in ${METHODS:-${!strengths[@]}}; do
  while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do sleep 0.5; done
  one "$method" "$@" &
done
wait
ls "$results"/*.json
