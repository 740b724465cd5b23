"""Training shared by processes: the vectors of one, also from another number's checkpoint or when one is lost."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback

from hspace_exp.methods.base import Training
from hspace_exp.methods.objectives import ScoreMatching
from hspace_exp.models.backbone import Backbone
from hspace_exp.pipeline.parallel import Helpers
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.training import data_parallel
from hspace_exp.training.data_parallel import Alone, Leader, Lost, Partners
from hspace_exp.training.loop import train
from hspace_exp.training.noised import NoisedImages
from hspace_exp.training.on_policy import OnPolicyStates
from hspace_exp.training.process_group import Rank
from hspace_exp.training.task import Task
from hspace_exp.training.trajectories import Trajectories

PROMPTS = {
    name: ConceptPrompts(positive=f"a photo of a {name}", neutral="a photo of a person", words=name)
    for name in ("woman", "man")
}
DEVICE = torch.device("cpu")

# A helper: takes part in what it is told, and ends before the sixth step.
HELPER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_data_parallel as ours
from hspace_exp.training import loop as train
from hspace_exp.training.data_parallel import Follower
from hspace_exp.training.noised import NoisedImages
from hspace_exp.models.backbone import load_backbone
from hspace_exp.pipeline.seat import Seat
from hspace_exp.prompts.attributes import ConceptPrompts
train._LEAST_STEPS = 1
draw = NoisedImages.draw
NoisedImages.draw = lambda self, step: sys.exit(1) if step == 5 else draw(self, step)
seat = Seat(1, Path(sys.argv[3]))
backbone = load_backbone(sys.argv[2], device="cpu")
for line in sys.stdin:
    number, _, steps, count, place = line.split()
    partners = Follower(seat, int(number), int(count), place, ours.DEVICE)
    train.take_part(ours.task(backbone, seat.folder, int(steps), partners), ours.TRAINING)
    seat.mark(int(number))
"""

TRAINING = Training(ScoreMatching(), partial(torch.optim.SGD, lr=1.0), batch_size=3)


def task(backbone: Backbone, folder: Path, steps: int, partners: Partners) -> Task:
    random = torch.Generator().manual_seed(0)
    latents = {name: torch.randn(5, *backbone.latent_shape, generator=random) for name in PROMPTS}
    quiet = partial(lightning.Trainer, logger=False, precision="32-true")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return Task(backbone, "m", dict.fromkeys(PROMPTS, "gender"), PROMPTS, steps, 0, folder, "made", quiet, latents,
                partners=partners)  # fmt: skip


@pytest.fixture
def helpers(tiny_folder: Path, tmp_path: Path) -> Iterator[Helpers]:
    command = [sys.executable, "-W", "ignore", "-c", HELPER, str(Path(__file__).parent)]
    command += [str(tiny_folder), str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, cwd=Path(__file__).parents[3])
    started = Helpers(tmp_path, {1: process})
    yield started
    started.end()


def vectors(backbone: Backbone, folder: Path, steps: int, partners: Partners) -> torch.Tensor:
    found = train(task(backbone, folder, steps, partners), TRAINING)
    return torch.stack([found[name].vector for name in PROMPTS])


@pytest.mark.slow  # importing everything once more; test_devices.py joins two processes, the tests below lose one
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_two_processes_learn_what_one_learns_from_any_checkpoint_and_without_who_is_lost(
    tiny_backbone: Backbone,
    helpers: Helpers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("hspace_exp.training.loop._LEAST_STEPS", 1)
    three, eight = (vectors(tiny_backbone, tmp_path / str(steps), steps, Alone()) for steps in (3, 8))
    close = {"rtol": 1e-4, "atol": 1e-6}

    found = vectors(tiny_backbone, tmp_path, 3, Leader(helpers, "3", DEVICE))
    assert len(helpers) == 1
    assert not torch.distributed.is_initialized()
    assert three.abs().max() > 1e-4
    torch.testing.assert_close(found, three, **close)

    vectors(tiny_backbone, tmp_path, 4, Alone())  # one goes on with what two began, then two with what one began
    found = vectors(tiny_backbone, tmp_path, 8, Leader(helpers, "8", DEVICE))  # and then the other ends
    assert "training goes on in one process" in caplog.text
    assert len(helpers) == 0
    assert not torch.distributed.is_initialized()
    torch.testing.assert_close(found, eight, **close)


class Leaving(Alone):
    """A partner that is lost after the sixth step."""

    def joined(self, rank: Rank) -> AbstractContextManager[dict[str, Any]]:
        """Train alone until then."""

        def leave(trainer: lightning.Trainer, *rest: object) -> None:
            if trainer.global_step == 6:
                raise Lost("one has ended")

        return nullcontext({"strategy": "auto", "callbacks": [LambdaCallback(on_train_batch_end=leave)]})


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_training_goes_on_alone_from_the_last_checkpoint(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hspace_exp.training.loop._LEAST_STEPS", 2)
    monkeypatch.setattr("hspace_exp.training.loop.CHECKPOINTS", 4)
    caplog.set_level(logging.INFO, "hspace_exp")
    whole = vectors(tiny_backbone, tmp_path / "whole", 8, Alone())
    found = vectors(tiny_backbone, tmp_path / "left", 8, Leaving())
    assert "one has ended: training goes on in one process" in caplog.text
    assert "goes on from step 4 of 8" in caplog.text  # who is lost is noticed before the sixth step's is written
    torch.testing.assert_close(found, whole, rtol=0, atol=0)


def test_an_error_is_a_lost_partner_only_where_one_has_ended(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_parallel, "_LAST_WORDS", 0.3)
    monkeypatch.setattr(data_parallel, "process_group", lambda *where: nullcontext({"strategy": "joined"}))
    prepared = "import sys; print(end='', file=open(sys.argv[1] + '/1.1.ready', 'w')); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", prepared, str(tmp_path)], stdin=subprocess.PIPE, bufsize=0)
    helpers = Helpers(tmp_path, {1: process})
    leader = Leader(helpers, "x", DEVICE)
    leader.call(8)
    rank = leader.gather()
    assert rank == Rank(0, 2)
    with pytest.raises(RuntimeError, match="out of memory"), leader.joined(rank):
        raise RuntimeError("out of memory")
    assert len(helpers) == 1

    def train_with_who_ends() -> None:
        with leader.joined(rank) as options:
            (check,) = options["callbacks"]
            check.on_train_batch_end(None, None, None, None, 0)
            process.kill()
            process.wait()
            with pytest.raises(Lost, match="a helper has ended"):
                check.on_train_batch_end(None, None, None, None, 1)
            raise RuntimeError("connection closed by peer")

    with pytest.raises(Lost, match="a process that took part has ended"):
        train_with_who_ends()
    assert len(helpers) == 0


def test_who_cannot_prepare_is_not_waited_for(tiny_backbone: Backbone, tmp_path: Path) -> None:
    broken = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"], stdin=subprocess.PIPE, bufsize=0)
    helpers = Helpers(tmp_path, {1: broken})
    leader = Leader(helpers, "x", DEVICE)
    leader.call(8)
    assert leader.gather() == Rank()
    assert len(helpers) == 0


def test_no_process_is_without_rows() -> None:
    for batch, count in ((8, 2), (8, 3), (5, 5), (3, 2)):
        rows = [list(range(batch))[Rank(k, count).rows(batch)] for k in range(count)]
        assert [row for some in rows for row in some] == list(range(batch))
        assert all(rows)
    leader = Leader(Helpers(Path("none")), "x", DEVICE)
    leader.call(8)
    assert leader.gather() == Rank()


def test_the_rows_of_all_processes_are_the_batch(tiny_backbone: Backbone) -> None:
    random = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 5, *tiny_backbone.latent_shape, generator=random)
    states = Trajectories(torch.randn(3, 2, *tiny_backbone.latent_shape, generator=random), torch.tensor([[9, 4]] * 3))
    for examples in (
        NoisedImages(tiny_backbone, PROMPTS, latents, batch_size=3),
        OnPolicyStates(tiny_backbone, PROMPTS, {name: [states] for name in PROMPTS}, batch_size=3),
    ):
        whole = examples.draw(4)
        parts = []
        for k in range(2):
            examples.take(Rank(k, 2).rows(3))
            parts.append(examples.draw(4))
        assert [len(part.embeds) for part in parts] == [2, 4]
        for concept in range(2):
            own = [part.latents.chunk(2)[concept] for part in parts]
            assert torch.equal(torch.cat(own), whole.latents.chunk(2)[concept])
