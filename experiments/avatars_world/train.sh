#!/usr/bin/env bash
# Retrains the embedded world's models on one GPU; each call fits in ten minutes and goes on from what OUT_DIR holds.
#   experiments/avatars_world/train.sh judges-and-vae | unet SECONDS | evaluate [key=value ...]
set -euo pipefail
OUT_DIR=${OUT_DIR:-outputs/avatars}
PYTHON=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/inductor}
train() { "$PYTHON" -m hspace_exp.avatars.train out="$OUT_DIR" "$@"; }
case ${1:?judges-and-vae, unet or evaluate} in
  judges-and-vae)
    train stage=data
    train stage=vae max_seconds="${2:-260}"
    train stage=probe max_seconds="${3:-45}"
    train stage=clip max_seconds="${4:-90}"
    train stage=sam max_seconds="${5:-70}"
    ;;
  unet)
    train stage=data
    train stage=unet max_seconds="${2:-540}" "${@:3}"
    train stage=save
    ;;
  evaluate)
    train stage=save
    "$PYTHON" -m hspace_exp.avatars.evaluate weights="$OUT_DIR/weights" "${@:2}"
    ;;
  *) echo "unknown step $1: judges-and-vae, unet or evaluate" >&2; exit 2 ;;
esac
