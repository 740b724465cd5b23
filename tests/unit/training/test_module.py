from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from hspace_exp.methods.learning import Training
from hspace_exp.methods.sdid import Denoising
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.training.module import ConceptModule
from hspace_exp.training.noised import NoisedImages

PROMPT = "a photo of a person"


def module(backbone: Backbone, names: list[str], **settings: object) -> ConceptModule:
    training = Training(Denoising(), partial(torch.optim.Adam, lr=0.1), batch_size=2, **settings)  # type: ignore[arg-type]
    latents = {
        name: torch.randn(5, *backbone.latent_shape, generator=torch.Generator().manual_seed(ord(name[0])))
        for name in names
    }
    examples = NoisedImages(
        backbone,
        {name: ConceptPrompts(neutral=PROMPT) for name in names},
        torch.stack([latents[n] for n in names]),
        batch_size=2,
        timesteps=training.timesteps,
    )
    return ConceptModule(backbone, training, names, examples)


def descend(trained: ConceptModule, steps: int) -> torch.Tensor:
    """Plain steps without a trainer."""
    optimizer = trained.configure_optimizers()
    settings = trained.training_settings
    for step in range(steps):
        vectors = trained.vectors.repeat_interleave(settings.batch_size, 0)
        losses = settings.objective(trained.backbone, vectors, trained.examples.draw(step))
        optimizer.zero_grad()
        losses.view(-1, settings.batch_size).mean(1).sum().backward()
        optimizer.step()
    return trained.vectors.detach()


def test_the_vectors_are_the_only_parameter_and_the_only_thing_saved(tiny_backbone: Backbone) -> None:
    trained = module(tiny_backbone, ["female", "male"])
    assert [name for name, _ in trained.named_parameters()] == ["vectors"]
    assert list(trained.state_dict()) == ["vectors"]
    assert trained.vectors.shape == (2, *tiny_backbone.h_shape)


def test_vectors_learnt_side_by_side_are_those_learnt_alone(tiny_backbone: Backbone) -> None:
    both = descend(module(tiny_backbone, ["female", "male"]), 3)
    alone = descend(module(tiny_backbone, ["male"]), 3)
    torch.testing.assert_close(both[1], alone[0], rtol=1e-3, atol=1e-3)
    assert (both[0] - both[1]).abs().max() > 0.01


def test_batches_depend_on_the_step_alone(tiny_backbone: Backbone) -> None:
    trained = module(tiny_backbone, ["female"])
    later = trained.examples.draw(7)
    trained.examples.draw(1)
    again = trained.examples.draw(7)
    assert torch.equal(later.latents, again.latents)
    assert torch.equal(later.timesteps, again.timesteps)
    assert not torch.equal(later.latents, trained.examples.draw(8).latents)


def test_timesteps_stay_in_their_range(tiny_backbone: Backbone) -> None:
    trained = module(tiny_backbone, ["female"], timesteps=(900, 1000))
    drawn = torch.cat([trained.examples.draw(step).timesteps for step in range(50)])
    assert drawn.min() >= 900
    assert drawn.max() < 1000


def test_channel_vectors_have_one_value_a_channel(tiny_backbone: Backbone) -> None:
    trained = module(tiny_backbone, ["female"], vector="channel", init_std=0.5)
    assert trained.vectors.shape == (1, tiny_backbone.h_shape[0], 1, 1)
    assert 0.2 < trained.vectors.std() < 0.9
    assert descend(trained, 1).shape == trained.vectors.shape


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_curves_are_written_at_the_steps_that_the_trainer_logs(tiny_backbone: Backbone, tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = lightning.Trainer(
        max_steps=7,
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=3,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module(tiny_backbone, ["female"]), iter(range(7)))
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "5"]
    assert all(float(row["loss/female"]) > 0 and float(row["vector_rms/female"]) > 0 for row in rows)
