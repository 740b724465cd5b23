from __future__ import annotations

from functools import partial

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.methods.learning import Noisy, OnPolicy, Training
from hspace_exp.methods.task import Trajectories
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.training.module import ConceptModule
from hspace_exp.training.on_policy import OnPolicyStates, in_turn, sample_trajectories
from hspace_rivals.respodiff import ConceptAndNeutral

POSITIVE, NEUTRAL = "a photo of a woman", "a photo of a person"
PROMPTS = {"female": ConceptPrompts(positive=POSITIVE, neutral=NEUTRAL, words="woman")}
SAMPLING = Sampling(3, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=2)


@pytest.fixture
def examples(tiny_backbone: Backbone) -> OnPolicyStates:
    runs = Trajectories(**sample_trajectories(tiny_backbone, SAMPLING, in_turn([NEUTRAL], range(2)), 0))
    settings = OnPolicy(kept_bytes=0, teacher_guidance=4.0)
    return OnPolicyStates(tiny_backbone, PROMPTS, {"female": [runs]}, settings, batch_size=2)


def by_hand(backbone: Backbone, c: torch.Tensor, s: torch.Tensor, batch: Noisy, weight: float) -> torch.Tensor:
    """The loss with whole passes and plain differences."""
    prompts = [backbone.encode_prompts([prompt]).expand(len(c)) for prompt in (NEUTRAL, POSITIVE, "")]
    plain, positive, empty = (backbone.predict(batch.latents, batch.timesteps, some) for some in prompts)
    edited = []
    for vector in (c, c + s):
        with edit_hspace(backbone.unet, HEdit(vector=vector)):
            edited.append(backbone.predict(batch.latents, batch.timesteps, prompts[0]))
    wanted = (1 - 4) * empty + 4 * positive
    return ((edited[0] - wanted) ** 2).mean((1, 2, 3)) + weight * ((edited[1] - plain) ** 2).mean((1, 2, 3))


def test_the_loss_is_that_of_the_paper(tiny_backbone: Backbone, examples: OnPolicyStates) -> None:
    batch = examples.draw(0)
    c, s = torch.randn(2, 2, *tiny_backbone.h_shape, generator=torch.Generator().manual_seed(0))
    for weight, rate in ((0.5, 1.0), (0.0, 0.1), (2.0, 0.1)):
        loss = ConceptAndNeutral(weight, rate)(tiny_backbone, torch.cat([c, s / max(rate, 1e-9)], 1), batch)
        torch.testing.assert_close(loss, by_hand(tiny_backbone, c, s, batch, weight), rtol=1e-3, atol=1e-4)


def test_c_learns_from_the_first_loss_only_and_s_from_the_second(
    tiny_backbone: Backbone, examples: OnPolicyStates
) -> None:
    batch, channels = examples.draw(0), tiny_backbone.h_shape[0]
    start = torch.randn(2, 2 * channels, *tiny_backbone.h_shape[1:], generator=torch.Generator().manual_seed(0))
    gradients = []
    for weight in (0.0, 1.0):
        vectors = start.clone().requires_grad_()
        ConceptAndNeutral(weight, 0.5)(tiny_backbone, vectors, batch).sum().backward()
        gradients.append(vectors.grad)
    torch.testing.assert_close(gradients[0][:, :channels], gradients[1][:, :channels])
    assert gradients[0][:, channels:].abs().max() == 0
    assert gradients[1][:, channels:].abs().max() > 0


def test_the_rate_slows_the_second_vector_under_adam(tiny_backbone: Backbone, examples: OnPolicyStates) -> None:
    objective = ConceptAndNeutral(rate=0.1)
    settings = Training(objective, partial(torch.optim.Adam, lr=0.01), batch_size=2, on_policy=OnPolicy(["neutral"]))
    module = ConceptModule(tiny_backbone, settings, ["female"], examples)
    channels, height, width = tiny_backbone.h_shape
    assert module.vectors.shape == (1, 2 * channels, height, width)
    with torch.no_grad():
        module.vectors.copy_(torch.randn(module.vectors.shape, generator=torch.Generator().manual_seed(0)))
    optimizer = module.configure_optimizers()
    before = module.vectors.detach().clone()
    objective(tiny_backbone, module.vectors.repeat(2, 1, 1, 1), examples.draw(0)).mean().backward()
    optimizer.step()
    moved = (module.vectors.detach() - before)[0].abs()
    torch.testing.assert_close(moved[:channels].median(), torch.tensor(0.01), rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(moved[channels:].median(), torch.tensor(0.01), rtol=1e-2, atol=1e-4)
    total, sizes = objective.found(module.vectors.detach()[0])
    c, s = module.vectors.detach()[0].split(channels)
    torch.testing.assert_close(total, c + 0.1 * s)
    assert sizes["rms_s"] == pytest.approx(0.1 * float(s.square().mean().sqrt()))
    assert sizes["rms_c"] == pytest.approx(float(c.square().mean().sqrt()))


def test_it_needs_states_on_policy() -> None:
    with pytest.raises(UserError, match="on_policy"):
        Training(ConceptAndNeutral(), partial(torch.optim.Adam, lr=0.01))
