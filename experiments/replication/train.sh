#!/usr/bin/env bash
# Trains two more U-Nets of the embedded world, with its autoencoder and its judges: another seed, and another bottleneck.
#   experiments/replication/train.sh SECONDS     both side by side, one a GPU where there are two
# OUT_DIR/seed1/weights and OUT_DIR/h4/weights are what model.source takes.
set -euo pipefail
OUT_DIR=${OUT_DIR:-outputs/replication}
PYTHON=${PYTHON:-python3}
seconds=${1:-560}
deadline=$(($(date +%s) + seconds - 25))
gpus=$( (nvidia-smi -L 2>/dev/null || true) | wc -l)
export PYTHONUNBUFFERED=1
start() { # name, GPU, options
  local out="$OUT_DIR/$1" gpu=$2
  shift 2
  mkdir -p "$out/vae"
  ln -sfn ../data "$out/data"
  cp hspace_exp/avatars/weights/vae/* "$out/vae/"
  echo '{}' > "$out/vae/trained.json"
  cp -r hspace_exp/avatars/weights "$out/"
  CUDA_VISIBLE_DEVICES=$gpu TORCHINDUCTOR_CACHE_DIR="/tmp/inductor$gpu" "$PYTHON" -m avatars_world.train --out="$out" --stage=unet,save \
    --max-seconds="$seconds" --deadline="$deadline" "$@" 2>&1 | tee "$out/train.log" &
}
"$PYTHON" -m avatars_world.train --out="$OUT_DIR" --stage=data &
start seed1 0 --seed=1 ${TRAIN_OPTIONS:-}
start h4 "$((gpus > 1))" --seed=2 --form=h4 ${TRAIN_OPTIONS:-}
wait
