"""Stage ``clip``: the OpenCLIP model, trained on claims that are exactly true or false of each image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import CLIP

from avatars_world.captions import random_text
from avatars_world.claims import Claim, sample_claim, truth_matrix
from avatars_world.specs import Spec
from avatars_world.train.batches import disturb
from avatars_world.train.data import Layers, labels_of
from avatars_world.train.loop import Average, Clock, descend, learning_rate, resume, set_learning_rate, store_half
from hspace_exp.avatars.world import ATTRIBUTES as WORLD_ATTRIBUTES
from hspace_exp.avatars.world import SCENES
from hspace_exp.io.atomic import write_json


def clip_config(vocab_size: int, eos_token_id: int, context_length: int) -> dict[str, object]:
    """The small OpenCLIP model in OpenCLIP's own config form (a ResNet image tower, about 2 M parameters)."""
    return {
        "model_cfg": {
            "embed_dim": 64,
            "vision_cfg": {"image_size": 128, "layers": [1, 1, 2, 1], "width": 16, "head_width": 64},
            "text_cfg": {
                "context_length": context_length,
                "vocab_size": vocab_size,
                "width": 128,
                "heads": 4,
                "layers": 3,
                "pool_type": "eos",
                "eos_id": eos_token_id,
            },
            "init_logit_bias": -5.0,
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }


class ClaimTable:
    """Claims drawn for images, tokenised once a wording."""

    def __init__(self, tokenizer: object, seed: int = 0) -> None:
        """Start a seeded stream of claims."""
        self.rng, self.tokenizer = np.random.default_rng(seed), tokenizer
        self.fields = tuple(WORLD_ATTRIBUTES)
        self.cache: dict[str, list[int]] = {}

    def draw(self, spec: Spec) -> Claim:
        """A claim that is true of ``spec``: one attribute half of the time, several otherwise."""
        count = int(self.rng.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1]))
        return sample_claim(
            spec, self.rng, mention=[str(n) for n in self.rng.choice(self.fields, count, replace=False)]
        )

    def alternatives(self) -> dict[str, list[list[int]]]:
        """One freshly worded claim for each value of each attribute, as tokens ("person", true of all, left out)."""
        return {
            name: [self.tokens(Claim(**{name: value})) for value in values if value != "person"]
            for name, values in WORLD_ATTRIBUTES.items()
        }

    def tokens(self, claim: Claim) -> list[int]:
        """Token ids of one wording of ``claim``."""
        text = random_text(claim, self.rng)
        if text not in self.cache:
            self.cache[text] = self.tokenizer(text, padding="max_length", truncation=True).input_ids  # type: ignore[operator]
        return self.cache[text]


@torch.no_grad()
def convolutions(visual: Any, images: torch.Tensor) -> torch.Tensor:
    """What OpenCLIP's ``ModifiedResNet`` computes before its attention pooling: (B, C, S / 32, S / 32)."""
    hidden = visual.stem(images)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        hidden = layer(hidden)
    return hidden


def embed_images(
    model: Any,
    layers: Layers,
    people: torch.Tensor,
    scenes: torch.Tensor,
    kept: dict[int, torch.Tensor] | None,
    which: int,
) -> torch.Tensor:
    """Unit vectors of people in scenes; ``kept`` convolutions of batch ``which`` are made only once."""
    if kept is not None and which in kept:
        return F.normalize(model.visual.attnpool(kept[which]), dim=-1)
    images = disturb(layers.compose(people, scenes)) * 2 - 1
    if kept is None:
        vectors: torch.Tensor = model.encode_image(images, normalize=True)
        return vectors
    kept[which] = convolutions(model.visual, images)
    return F.normalize(model.visual.attnpool(kept[which]), dim=-1)


def balanced_sigmoid_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean over claims of the mean logistic loss over true images plus that over false ones.

    Args:
        logits: (images, claims).
        truth: (images, claims) bool; each claim is true of at least one image.
    """
    loss = F.softplus(torch.where(truth, -logits, logits))
    true = (loss * truth).sum(0) / truth.sum(0).clamp(min=1)
    false = (loss * ~truth).sum(0) / (~truth).sum(0).clamp(min=1)
    return (true + false).mean()


# Numbers of people and of scenes, tokens of claims, and which claim is true of which image.
Prepared = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def prepare(table: ClaimTable, layers: Layers, people: int, batch: int, claimed: int) -> Prepared:
    """A batch of the first ``people``, with claims about its first ``claimed`` images."""
    rows = table.rng.integers(people, size=batch)
    scenes = table.rng.integers(len(layers.scenes), size=batch)
    specs = [replace(layers.specs[i], scene=SCENES[j % len(SCENES)]) for i, j in zip(rows, scenes, strict=True)]
    claims = [table.draw(spec) for spec in specs[:claimed]]
    return (
        torch.from_numpy(rows).to(layers.device),
        torch.from_numpy(scenes).to(layers.device),
        torch.tensor([table.tokens(c) for c in claims], device=layers.device),
        torch.from_numpy(truth_matrix(specs, claims)).to(layers.device),
    )


def alternatives_loss(
    model: Any, image: torch.Tensor, scale: torch.Tensor, table: ClaimTable, labels: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Cross-entropy over one claim a value, as zero-shot judges tell values apart; the mean over attributes.

    Rare professions are learned by this first.
    """
    with torch.autocast(image.device.type, dtype=torch.bfloat16):
        anchors = {
            name: model.encode_text(torch.tensor(tokens, device=image.device), normalize=True)
            for name, tokens in table.alternatives().items()
        }
    choices = [
        F.cross_entropy(scale * (image.float() @ texts.float().T), labels[name], ignore_index=-1)
        for name, texts in anchors.items()
    ]
    return torch.stack(choices).mean()


def train_clip(
    layers: Layers,
    tokenizer: object,
    out: Path,
    max_seconds: float,
    *,
    batch: int,
    peak: float = 1e-3,
    freeze_encoder: bool = False,
    max_steps: int | None = None,
) -> None:
    """Train the OpenCLIP model with a sigmoid loss on an exact truth matrix and save ``out/clip``, going on from it.

    The loss is that of Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (2023), with every true pair
    positive rather than the diagonal alone, and with the images of which a claim is true weighing as much as those of
    which it is false: a profession is true of few, and would be learned last. ``freeze_encoder`` keeps the image
    tower's convolutions and trains what follows on their cached features, which a CPU can do. To this comes, for each
    attribute, the cross-entropy over one claim a value.
    """
    device = layers.device
    torch.manual_seed(2)
    config = clip_config(len(tokenizer), tokenizer.eos_token_id, tokenizer.model_max_length)  # type: ignore[arg-type,attr-defined]
    model = CLIP(**config["model_cfg"]).to(device)  # type: ignore[arg-type]
    folder = out / "clip"
    resume(model, folder / "model.safetensors")
    model.train(not freeze_encoder)
    average = Average(model, 0.998)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05)
    kept: dict[int, torch.Tensor] | None = {} if freeze_encoder else None
    # Claims and truth matrices are prepared in bulk on the CPU and reused with fresh pixels.
    table = ClaimTable(tokenizer)
    true = {name: values.to(device) for name, values in labels_of(layers.specs).items()}
    true["subject"] = true.pop("profession") - 1
    limit = int(len(layers.rgba) * 0.98)
    prepared: list[Prepared] = []
    clock = Clock(max_seconds, "clip", max_steps=max_steps)
    for _ in clock.steps():
        set_learning_rate(optimizer, learning_rate(clock.progress, peak, warmup=0.06))
        if len(prepared) < (60 if freeze_encoder else 250):
            prepared.append(prepare(table, layers, limit, batch, 64 if freeze_encoder else batch))
            which = len(prepared) - 1
        else:
            which = int(table.rng.integers(len(prepared)))
        people, backs, tokens, truth = prepared[which]
        with torch.autocast(device.type, dtype=torch.bfloat16):
            image = embed_images(model, layers, people, backs, kept, which)
            text = model.encode_text(tokens, normalize=True)
        scale = model.logit_scale.exp()
        logits = scale * (image.float() @ text.float().T) + model.logit_bias
        labels = {**{name: values[people] for name, values in true.items()}, "scene": backs % len(SCENES)}
        loss = balanced_sigmoid_loss(logits, truth) + alternatives_loss(model, image, scale, table, labels)
        descend(loss, model, optimizer)
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.0)
        average.update()
        clock.log(loss=loss.detach(), scale=model.logit_scale.detach().exp())
    average.store()
    write_json(folder / "open_clip_config.json", config)
    store_half(model, folder / "model.safetensors")
    print("[clip] " + json.dumps({"steps": clock.step, "loss": float(loss.detach())}), flush=True)
