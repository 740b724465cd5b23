"""What a configuration may name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hspace_exp.config.checks import check_targets
from hspace_exp.config.command_line import CONF, composed
from hspace_exp.config.trust import check_logging, check_trust, resolve
from hspace_exp.errors import UserError
from hspace_exp.methods.lwim import Localised
from hspace_rivals.h_guidance import HGuidance

DANGEROUS = [
    "pathlib.Path.write_text", "builtins.open", "builtins.exec", "shutil.copyfile", "logging.FileHandler", "torch.load",
    "joblib.load", "pandas.read_pickle", "numpy.load", "os.system", "subprocess.run", "hydra.utils.instantiate",
    "hspace_exp.io.atomic.write_text", "hspace_exp.commands.start", "hspace_expert.Mine", "torch.optimal.Mine",
]  # fmt: skip
THROUGH_OTHERS = [
    "hspace_exp.models.loading.torch.load", "hspace_exp.models.loading.hashlib.sha256", "torch.optim.adam.torch.load",
    "hspace_exp.masks.sam.Path.write_text", "lightning.pytorch.utilities.rank_zero_only",
    "torchmetrics.functional.accuracy",
]  # fmt: skip


@pytest.mark.parametrize("target", DANGEROUS)
def test_what_is_not_ours_is_refused_by_its_name(target: str) -> None:
    for trust in ((), ("my_module",)):
        with pytest.raises(UserError, match=r"metrics\.mine\._target_ names .* which is not ours: .*trust="):
            check_trust({"metrics": [{"mine": {"_target_": target}}]}, trust)
        with pytest.raises(UserError, match="which is not ours"):
            resolve(target, trust)


@pytest.mark.parametrize("target", THROUGH_OTHERS)
def test_what_is_reached_through_ours_is_refused(target: str) -> None:
    with pytest.raises((UserError, AttributeError), match=r"neither ours nor an optimiser|has no attribute"):
        resolve(target, ())


def test_kinds_of_libraries_and_our_classes_pass() -> None:
    names = ["torch.optim.SGD", "torch.optim.lr_scheduler.StepLR", "torchmetrics.MeanMetric", "lightning.Trainer"]
    for name in [*names, "lightning.pytorch.loggers.CSVLogger"]:
        assert resolve(name, ()).__name__ == name.rpartition(".")[2]
    assert resolve("hspace_exp.methods.lwim.Localised", ()) is Localised
    assert resolve("hspace_rivals.h_guidance.HGuidance", ()) is HGuidance


def test_a_refused_module_is_not_imported_and_a_trusted_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_to_trust.py").write_text("import pathlib, os\nclass Mine:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {"method": {"_target_": "mine_to_trust.Mine"}}
    with pytest.raises(UserError, match=r"trust=\[mine_to_trust\]"):
        check_targets(node)
    assert "mine_to_trust" not in sys.modules
    check_targets(node, trust=("mine_to_trust",))
    assert "mine_to_trust" in sys.modules
    with pytest.raises(UserError, match="neither ours"):  # not even through a trusted module
        check_targets({"_target_": "mine_to_trust.pathlib.Path.write_text"}, trust=("mine_to_trust",))
    sys.modules.pop("mine_to_trust")


@pytest.mark.parametrize("group", sorted(path.name for path in CONF.iterdir() if path.is_dir()))
def test_all_choices_of_conf_are_trusted(group: str) -> None:
    for file in (CONF / group).glob("*.yaml"):
        check_trust(OmegaConf.to_container(OmegaConf.load(file), resolve=False), ())


@pytest.mark.parametrize(
    "node",
    [
        {"handlers": {"file": {"class": "logging.handlers.SocketHandler"}}},
        {"handlers": {"file": {"()": "os.system", "command": "true"}}},
        {"filters": {"f": {"()": "builtins.print"}}},
        {"formatters": {"f": {"class": "my.Formatter"}}},
    ],
)
def test_handlers_of_the_log_are_no_code(node: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"hydra\.job_logging\.\w+\.\w+ names code"):
        check_logging(node)


def test_our_log_passes() -> None:
    cfg = composed(["hydra.verbose=true"], return_hydra_config=True)
    check_logging(OmegaConf.to_container(cfg.hydra.job_logging, resolve=False))
    check_logging(None)
