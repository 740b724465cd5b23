from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from hspace_exp.methods.learning import Objective, OnPolicy, Training
from hspace_exp.methods.lwim import Localised
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.sdid import Denoising
from hspace_exp.methods.task import Trajectories
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.training.loop import evaluations
from hspace_exp.training.noised import NoisedImages
from hspace_exp.training.on_policy import OnPolicyStates
from hspace_rivals.respodiff import ConceptAndNeutral

ADAM = partial(torch.optim.Adam, lr=0.1)
PROMPTS = {"female": ConceptPrompts(positive="a photo of a woman", neutral="a photo of a person", words="woman")}


@pytest.mark.parametrize(
    ("objective", "on_policy"),
    [
        (Denoising(), None),
        (ScoreMatching(), None),
        (Localised(), None),
        (ScoreMatching(), OnPolicy()),
        (ConceptAndNeutral(), OnPolicy(["neutral"], teacher_guidance=4.0)),
    ],
)
def test_evaluations_are_the_rows_that_pass(
    tiny_backbone: Backbone, objective: Objective, on_policy: OnPolicy | None
) -> None:
    settings = Training(objective, ADAM, batch_size=2, on_policy=on_policy)
    passed: list[tuple[int, bool]] = []  # rows and gradients at the last layer, where whole passes and halves end
    handle = tiny_backbone.unet.conv_out.register_forward_hook(
        lambda module, args, output: passed.append((len(output), output.requires_grad))
    )
    random = torch.Generator().manual_seed(0)
    before = 0
    if on_policy is None:
        latents = torch.randn(1, 3, *tiny_backbone.latent_shape, generator=random)
        maps = torch.full((1, 3, 1, 32, 32), 255, dtype=torch.uint8)
        examples: NoisedImages | OnPolicyStates = NoisedImages(tiny_backbone, PROMPTS, latents, maps, batch_size=2)
    else:
        states = torch.randn(3, 2, *tiny_backbone.latent_shape, generator=random)
        runs = Trajectories(states, torch.tensor([[900, 400]] * 3))
        settings = replace(settings, on_policy=replace(on_policy, kept_bytes=0))
        examples = OnPolicyStates(tiny_backbone, PROMPTS, {"female": [runs]}, settings.on_policy, batch_size=2)
        before = examples.passes("female")
    channels, height, width = tiny_backbone.h_shape
    for step in range(3):
        vectors = torch.zeros(2, objective.parts * channels, height, width, requires_grad=True)
        objective(tiny_backbone, vectors, examples.draw(step)).sum().backward()
    handle.remove()
    forward, backward = sum(rows for rows, _ in passed), sum(rows for rows, gradient in passed if gradient)
    assert evaluations(settings, 3, before) == {"forward": forward, "backward": backward}
