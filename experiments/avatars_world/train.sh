#!/usr/bin/env bash
# Retrains the embedded world's models on one GPU; each step fits in ten minutes and goes on from what OUT_DIR holds.
#   experiments/avatars_world/train.sh first            data, autoencoder, judges, SAM, a first stretch of the U-Net
#   experiments/avatars_world/train.sh unet SECONDS     more of the U-Net
#   experiments/avatars_world/train.sh evaluate [key=value ...]
set -euo pipefail
OUT_DIR=${OUT_DIR:-outputs/avatars}
PYTHON=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/inductor}
train() { "$PYTHON" -m hspace_exp.avatars.train out="$OUT_DIR" "$@"; }
judges() {
  sleep "$1"
  train stage=probe max_seconds=40
  train stage=sam max_seconds=65
  train stage=clip max_seconds=125
}
case ${1:?first, unet or evaluate} in
  first)
    train stage=data
    judges 195 &
    train stage=vae max_seconds="${2:-235}"
    train stage=unet max_seconds="${3:-215}"
    wait
    train stage=save
    ;;
  unet)
    train stage=data
    train stage=unet max_seconds="${2:-480}" "${@:3}"
    train stage=save
    ;;
  evaluate)
    "$PYTHON" -m hspace_exp.avatars.evaluate weights="$OUT_DIR/weights" "${@:2}"
    ;;
  *) echo "unknown step $1: first, unet or evaluate" >&2; exit 2 ;;
esac
