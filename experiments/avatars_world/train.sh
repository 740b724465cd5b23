#!/usr/bin/env bash
# Retrains the embedded world's models on one GPU. Each step ends within the seconds given and goes on from OUT_DIR.
#   experiments/avatars_world/train.sh vae SECONDS [VAE_SECONDS]   the autoencoder, then a first stretch of the U-Net
#   experiments/avatars_world/train.sh unet SECONDS                more of the U-Net, with the autoencoder as it is
#   experiments/avatars_world/train.sh judges SECONDS              probe, SAM and OpenCLIP (7, 43 and 50 % of the time)
#   experiments/avatars_world/train.sh evaluate [key=value ...]
set -euo pipefail
OUT_DIR=${OUT_DIR:-outputs/avatars}
PYTHON=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/inductor}
train() { "$PYTHON" -m avatars_world.train out="$OUT_DIR" "$@"; }
step=${1:?vae, unet, judges or evaluate}
seconds=${2:-560}
deadline=$(($(date +%s) + seconds - 20))
case $step in
  vae)
    # Stages start together: each compiles while it waits for the files of the one before it.
    rm -f "$OUT_DIR/vae/trained.json"
    train stage=data &
    train stage=vae max_seconds="${3:-$((seconds / 2))}" &
    sleep 100
    train stage=unet max_seconds="$seconds" deadline="$deadline"
    wait
    train stage=save
    ;;
  unet)
    train stage=data &
    train stage=unet max_seconds="$seconds" deadline="$deadline"
    wait
    train stage=save
    ;;
  judges)
    train stage=data
    left=$((deadline - $(date +%s) - 45))
    train stage=probe max_seconds="$((left * 7 / 100))"
    train stage=sam max_seconds="$((left * 43 / 100))"
    train stage=clip max_seconds="$((left * 50 / 100))"
    train stage=save
    ;;
  evaluate)
    "$PYTHON" -m avatars_world.evaluate weights="$OUT_DIR/weights" "${@:2}"
    ;;
  *) echo "unknown step $step: vae, unet, judges or evaluate" >&2; exit 2 ;;
esac
