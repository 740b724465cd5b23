"""Stage ``probe``: the supervised judge, which nothing else is tuned on."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F

from avatars_world.train.batches import disturb, draw_batch
from avatars_world.train.data import Layers, labels_of
from avatars_world.train.loop import Average, Clock, learning_rate, set_learning_rate, store_half
from hspace_exp.avatars.probe import ATTRIBUTES, AttributeProbe


def train_probe(layers: Layers, out: Path, max_seconds: float, *, batch: int, max_steps: int | None = None) -> None:
    """Train the supervised probe and save ``out/probe.safetensors`` (fp16)."""
    device = layers.device
    torch.manual_seed(1)
    probe = AttributeProbe().to(device).to(memory_format=torch.channels_last)
    average = Average(probe, 0.998)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=0.02)
    labels = {name: values.to(device) for name, values in labels_of(layers.specs).items()}
    clock = Clock(max_seconds, "probe", max_steps=max_steps)
    for _ in clock.steps():
        set_learning_rate(optimizer, learning_rate(clock.progress, 2e-3))
        images, people, scene = draw_batch(layers, batch)
        target = {**{name: values[people] for name, values in labels.items()}, "scene": scene}
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = probe(disturb(images).contiguous(memory_format=torch.channels_last))
        loss = torch.stack([F.cross_entropy(logits[name].float(), target[name]) for name in ATTRIBUTES]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update()
        clock.log(loss=loss.detach())
    average.store()
    probe.eval()
    with torch.no_grad():
        images, people, scene = draw_batch(layers, min(2048, 64 * batch), held_out=True)
        parts = [probe(chunk) for chunk in images.split(256)]
        logits = {name: torch.cat([part[name] for part in parts]) for name in ATTRIBUTES}
    target = {**{name: values[people] for name, values in labels.items()}, "scene": scene}
    accuracy = {name: float((logits[name].argmax(1) == target[name]).float().mean()) for name in ATTRIBUTES}
    store_half(probe, out / "probe.safetensors")
    print("[probe] " + json.dumps({"accuracy": accuracy, "steps": clock.step}), flush=True)
