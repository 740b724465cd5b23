#!/usr/bin/env bash
# Retrains the embedded world's models on one GPU. Each step ends within the seconds given and goes on from OUT_DIR.
#   experiments/avatars_world/train.sh vae SECONDS [VAE_SECONDS]   the autoencoder, then a first stretch of the U-Net
#   experiments/avatars_world/train.sh unet SECONDS                more of the U-Net, with the autoencoder as it is
#   experiments/avatars_world/train.sh judges SECONDS              probe, SAM and OpenCLIP (7, 43 and 50 % of the time)
#   experiments/avatars_world/train.sh transformer SECONDS         a transformer, with the shipped autoencoder and text encoder
#   experiments/avatars_world/train.sh evaluate [--flag value ...]
# OUT_DIR/result of the transformer holds its weights, the log with the losses, what it was measured to do, and pictures.
set -euo pipefail
OUT_DIR=${OUT_DIR:-outputs/avatars}
PYTHON=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/inductor}
train() { "$PYTHON" -m avatars_world.train --out="$OUT_DIR" "$@"; }
step=${1:?vae, unet, judges, transformer or evaluate}
seconds=${2:-560}
deadline=$(($(date +%s) + seconds - 20))
case $step in
  vae)
    # Stages start together: each compiles while it waits for the files of the one before it.
    rm -f "$OUT_DIR/vae/trained.json"
    train --stage=data &
    train --stage=vae --max-seconds="${3:-$((seconds / 2))}" &
    sleep 100
    train --stage=unet --max-seconds="$seconds" --deadline="$deadline"
    wait
    train --stage=save
    ;;
  unet)
    train --stage=data &
    train --stage=unet --max-seconds="$seconds" --deadline="$deadline"
    wait
    train --stage=save
    ;;
  judges)
    train --stage=data
    left=$((deadline - $(date +%s) - 45))
    train --stage=probe --max-seconds="$((left * 7 / 100))"
    train --stage=sam --max-seconds="$((left * 43 / 100))"
    train --stage=clip --max-seconds="$((left * 50 / 100))"
    train --stage=save
    ;;
  transformer)
    # 75 s are kept for saving and for the measurements.
    mkdir -p "$OUT_DIR/result"
    train --stage=data ${DATA_OPTIONS:-} &
    train --stage=dit,save --max-seconds="$seconds" --deadline="$((deadline - 55))" ${DATA_OPTIONS:-} ${TRAIN_OPTIONS:-} \
      2>&1 | tee "$OUT_DIR/result/train.log"
    wait
    cp -r "$OUT_DIR/weights/transformer" "$OUT_DIR/weights/model_index.json" "$OUT_DIR/result/"
    "$PYTHON" -m avatars_world.evaluate --transformer="$OUT_DIR/result" --out="$OUT_DIR/result" --what=obedience,preview,bias \
      --prompts=500 "${@:3}"
    ;;
  evaluate)
    "$PYTHON" -m avatars_world.evaluate --weights="$OUT_DIR/weights" "${@:2}"
    ;;
  *) echo "unknown step $step: vae, unet, judges, transformer or evaluate" >&2; exit 2 ;;
esac
