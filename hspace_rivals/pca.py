"""Principal components of h, and the one that tells a concept from its alternatives (Haas et al., 2023)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.methods.task import Task, h_of_runs
from hspace_rivals.beside import exclusive

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrincipalComponents:
    """Directions of most variance of h over the model's own samples; no gradient, no labels of single samples.

    From the paper (Haas et al., "Discovering Interpretable Directions in the Semantic Latent Space of Diffusion
    Models", 2023) and its released code: PCA of h over random samples of the model, 25 components, moved along in units
    of the data's spread, in every step. Which component means what, people there read off pictures. Our reading: the
    model is asked with the neutral prompt; as one vector serves all timesteps, h is centred in each timestep and its
    states are pooled; and the component is picked by the attribute, see ``separation``. The concept file holds
    component times standard deviation, so that ``strength`` counts standard deviations along the component.
    """

    components: PositiveInt = 25  # of most variance, that are looked at
    # of all runs together, at most; the cost of the eigenvectors grows with its cube
    states: Annotated[int, Field(ge=2)] = 2048
    needs: ClassVar[frozenset[str]] = frozenset({"neutral", "positive"})
    subjects: ClassVar[Sequence[str]] = ()

    def learn(self, task: Task) -> dict[str, Concept]:
        """The chosen component of each concept."""
        learnt: dict[str, Concept] = {}
        for names, neutral in exclusive(task):
            h = h_of_runs(task, names[0], "neutral", self.states, neutral)
            directions, spread = principal_components(by_timestep(h), self.components)
            centre, shown = h.mean(0), []
            for name in names:
                rows = h_of_runs(task, name, "positive", self.states, neutral) - centre
                shown.append(rows.flatten(2).mean(1).double() @ directions.T)
            cost = {"forward": (len(h) + len(shown[0])) * h.shape[1], "backward": 0}
            for k, name in enumerate(names):
                apart = separation(shown, k)
                best = int(apart.abs().argmax())
                log.info("%r: component %d, %.2f standard deviations apart", name, best, abs(apart[best]))
                vector = apart[best].sign() * spread[best] * directions[best]
                learnt[name] = task.concept(
                    name,
                    vector.float().reshape(task.backbone.h_shape),
                    component=best,
                    separation=round(float(apart[best]), 4),
                    standard_deviation=round(float(spread[best]), 4),
                    unet_evaluations=cost,
                )
        return learnt


def by_timestep(h: Tensor) -> Tensor:
    """(N T, D) float64 rows of h (N, T, C, H, W), centred in each timestep: the noise level is no direction."""
    return (h - h.mean(0)).flatten(2).flatten(0, 1).double()


def principal_components(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """At most ``count`` principal components of (N, D) rows of mean zero, the first the one of most variance.

    Gives (K, D) orthonormal directions, and (K,) the standard deviations of the rows along them. Signs are such that
    the largest entry of a direction is positive.
    """
    values, vectors = torch.linalg.eigh(rows @ rows.T)  # N is far smaller than D
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    real = values > values[0] * 1e-10
    values, vectors = values[real], vectors[:, real]
    directions = (vectors / values.sqrt()).T @ rows
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    return directions * signs, (values / len(rows)).sqrt()


def separation(shown: list[Tensor], own: int) -> Tensor:
    """How far apart a concept lies from its alternatives along each component, in standard deviations within a concept.

    Of (N, K) coordinates of runs that show each concept, the (K,) differences of its ``own`` mean and the mean of the
    others' means, over the pooled standard deviation.
    """
    means = torch.stack([rows.mean(0) for rows in shown])
    others = torch.cat([means[:own], means[own + 1 :]]).mean(0)
    within = torch.stack([rows.var(0, unbiased=False) for rows in shown]).mean(0).sqrt()
    return (means[own] - others) / within.clamp(min=1e-12)
