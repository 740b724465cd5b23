"""A configuration, read once: plain data, and the objects that the stages of a run take what they need from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.schema import AUTO
from hspace_exp.errors import UserError
from hspace_exp.io.digest import Recipe, essential
from hspace_exp.masks import MaskProvider
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.steering import Edit, UneditedRuns, guidance_factor
from hspace_exp.methods.task import MakeTrainer
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import Swapped, make_scheduler
from hspace_exp.models.sites import attends_jointly
from hspace_exp.pipeline.learning import Learning
from hspace_exp.prompts.attributes import Attribute, Group, kept_by, learnt_together, prompts_of, targets
from hspace_exp.prompts.explicit import explicit_prompts
from hspace_exp.prompts.listed import read_prompts
from hspace_exp.prompts.plan import Item, check_assignment, plan
from hspace_exp.prompts.wording import warn_of_unsaid

_make = partial(instantiate, _convert_="all")
# Images sampled at once: of a large U-Net, and of a small one on a CPU (an eighth less time than with 8) and a GPU.
CHUNK, SMALL_CHUNK_CPU, SMALL_CHUNK_GPU = 8, 32, 192


@dataclass(frozen=True)
class Parts:
    """What a configuration describes."""

    backbone: Backbone
    sampling: Sampling
    method: Method
    frequency: LowFrequency
    attribute: Attribute
    # the groups of concepts that can be asked for, none where nothing is edited; several in a composition
    asked: tuple[Group, ...]
    items: Sequence[Item]  # images to make
    image_seed: int  # of their noises
    learnings: tuple[Learning, ...]  # concepts that are learnt, those of one go each; none where nothing is learnt
    templates: Sequence[str]  # wordings of prompts
    unedited: Recipe  # what decides the unedited images
    applied: Mapping[str, Any]  # plain data of how vectors are applied, but for their strength
    placing: Mapping[str, Any]  # plain data of which image is asked for what
    make_trainer: MakeTrainer
    # what the record tells of how strengths were found; empty where they were given
    calibration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def edited(self) -> Recipe | None:
        """What decides the edited images; None where nothing is edited."""
        prompts = prompts_of(self.asked)
        if not self.method.edits:
            return None
        how = {"strength": self.method.strengths(prompts), "vectors": [one.of_vectors.digest for one in self.learnings]}
        how |= {"prompts": {name: some.plain() for name, some in prompts.items()}, "unedited": self.unedited.plain()}
        return Recipe("edited", {**how, "applied": self.applied, "placing": self.placing})

    def edit(self, concepts: Mapping[str, Concept], runs: UneditedRuns | None = None) -> Edit:
        """How the method's concepts enter h; ``runs`` keeps unedited runs for further edits of the same noises."""
        for concept in concepts.values():
            concept.check(self.backbone)
        keep = kept_by(self.asked) if self.method.keeps else {}
        factor = guidance_factor(self.backbone.guidance_scale, self.sampling.scale(self.backbone))
        return self.method.apply(prompts_of(self.asked), concepts, keep, self.frequency, factor, runs)

    def at(self, calibration: Mapping[str, Any]) -> Parts:
        """The same with the strengths that a calibration found."""
        strengths = {name: float(one["strength"]) for name, one in calibration["concepts"].items()}
        method = replace(self.method, strength=strengths)
        return replace(self, method=method, calibration={"calibration": dict(calibration)})


def make_parts(cfg: DictConfig, config: Mapping[str, Any], backbone: Backbone | None = None) -> Parts:
    """Instantiate the parts, the model last, so that wrong input is found before anything expensive happens.

    Of a configuration on this process's device and its ``plain_config``; a ``backbone`` that is there stands for the
    model that the configuration names.
    """
    method, frequency, masks, scheduler, attribute, items, placing = make_settings(cfg, config)
    protocol, asked = config["protocol"], attribute.groups if method.edits else ()
    backbone = _make(cfg.model) if backbone is None else backbone
    _check_schedule(backbone, config)
    _check_attention(backbone, method, masks)
    small = SMALL_CHUNK_CPU if backbone.device.type == "cpu" else SMALL_CHUNK_GPU
    chunk_size = config["chunk_size"] or (small if backbone.small else CHUNK)
    sampling = Sampling(protocol["num_inference_steps"], scheduler, chunk_size, protocol["guidance_scale"])
    learnings = _learnings(config, asked, backbone, sampling, method, masks)
    _check_prompts(backbone, items, learnings)
    sampled = {"sampling": sampling.describe(backbone), "image_seed": protocol["image_seed"]}
    applied = essential({key: config["method"].get(key) for key in ("branch", "window", "edit")}, "method")
    return Parts(
        backbone=backbone,
        sampling=sampling,
        method=method,
        frequency=frequency,
        attribute=attribute,
        asked=asked,
        items=items,
        image_seed=protocol["image_seed"],
        learnings=learnings,
        templates=config["prompts"]["templates"],
        unedited=Recipe("unedited", {**sampled, "templates": config["prompts"]["templates"]}),
        applied={"method": applied, "frequency": essential(config["frequency"], "frequency")},
        placing=placing,
        make_trainer=_make(cfg.trainer),
    )


def make_settings(cfg: DictConfig, config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Method, frequency, masks, scheduler, attribute, ``_items``: wrong input is found before anything is loaded."""
    method, frequency, masks, scheduler = map(_make, (cfg.method, cfg.frequency, cfg.mask, cfg.scheduler))
    attribute = Attribute.of(config["attribute"])
    asked = attribute.groups if method.edits else ()
    check_assignment(config["protocol"]["assignment"], targets(attribute.groups))
    if len(asked) > 1 and not method.composes:
        names = " or ".join(group.name for group in asked)
        raise UserError(f"method {method.name!r} asks for one concept at a time: use attribute={names} with it")
    if method.strength != AUTO:
        method.strengths(prompts_of(asked))  # each must have one
    return method, frequency, masks, scheduler, attribute, *_items(config, asked)


def _check_schedule(backbone: Backbone, config: Mapping[str, Any]) -> None:
    """Refuse more steps, or later ones, than the model's schedule has."""
    most, protocol = backbone.num_train_timesteps, config["protocol"]
    asked = {f"protocol.{key}": protocol[key] for key in ("num_inference_steps", "learning_inference_steps")}
    asked["method.training.timesteps"] = ((config["method"].get("training") or {}).get("timesteps") or [0])[-1]
    for key, steps in asked.items():
        if steps is not None and steps > most:
            raise UserError(f"{key}: {steps} is more than the {most} steps of this model's schedule")


def _check_attention(backbone: Backbone, method: Method, masks: MaskProvider) -> None:
    """Refuse what reads or changes cross-attention, where the model attends to image and text jointly."""
    objective = getattr(method.training, "objective", None)
    asked = {
        "method=focused_no_gate (or method.edit.gate=null)": getattr(method.edit, "gate", None) is not None,
        "method=lwim_no_chi (or method.training.objective.scope=null)": getattr(objective, "scope", None) is not None,
        "mask=sam (or mask.heat=difference)": "maps" in method.needs and masks.heat == "attention",
    }
    if attends_jointly(backbone.unet) and any(asked.values()):
        ways = " and ".join(way for way, needed in asked.items() if needed)
        raise UserError(f"{backbone.name!r} attends to image and text jointly, with no cross-attention: use {ways}")


def _learnings(
    config: Mapping[str, Any],
    asked: Sequence[Group],
    backbone: Backbone,
    sampling: Sampling,
    method: Method,
    masks: MaskProvider,
) -> tuple[Learning, ...]:
    """What is learnt in one go each; nothing where the method has nothing to learn."""
    if method.training is None:
        return ()
    protocol = config["protocol"]
    steps = protocol["learning_inference_steps"] or sampling.num_inference_steps
    sampling = replace(sampling, num_inference_steps=steps, guidance_scale=None)
    settings = {
        "training": essential(config["method"]["training"], "method.training"),
        "mask": essential(config["mask"], "mask"),
        "precision": config["trainer"].get("precision"),
        "applied": _applied(config),
    }
    training: Any = method.training
    rate = (protocol["rates_for_steps"] or protocol["training_steps"]) / protocol["training_steps"]
    if rate != 1 and getattr(training, "init_std", None) == 0:
        optimizer = partial(training.optimizer, lr=rate * training.rate)
        method = replace(method, training=replace(training, optimizer=optimizer))
        settings["training"] |= {"rate": rate}
    if isinstance(sampling.make_scheduler, Swapped):
        sampling = replace(sampling, make_scheduler=make_scheduler)
    numbers = protocol["training_images"], protocol["training_steps"], config["seed"], protocol["image_seed"]
    teams = learnt_together(asked, method.keeps)
    return tuple(
        Learning(
            *(backbone, sampling, method, masks, team, *numbers, settings),
            picture=f"masks_{team[0].name}.png" if len(teams) > 1 else "masks.png",
        )
        for team in teams
    )


def _applied(config: Mapping[str, Any]) -> dict[str, Any]:
    """How vectors are applied beside their strength and branch, for their files: see ``concepts.concept.Used``."""
    found = {}
    for node, keys in (("method", ("window", "edit")), ("frequency", ("weight", "source", "branch", "transform"))):
        for key in config[node].keys() & set(keys):
            value: Any = essential(config[node][key], f"{node}.{key}")
            if isinstance(value, dict):  # of a class of one's own the name alone
                own = "." in value["_target_"]
                value = {k: v for k, v in value.items() if k == "_target_" or not (own or k.startswith("_"))}
            found[f"{node}.{key}"] = value
    return dict(sorted(found.items()))


def _items(config: Mapping[str, Any], asked: Sequence[Group]) -> tuple[list[Item], dict[str, Any]]:
    """The images to make, and plain data of what decides which of them is asked for what."""
    protocol, templates, seed = config["protocol"], config["prompts"]["templates"], config["seed"]
    names, assignment = targets(asked), protocol["assignment"]
    count, file = protocol["images_per_profession"], config["prompts"].get("file")
    groups = read_prompts(file)[0] if file else None
    items = plan(groups or protocol["professions"], templates, count, names, assignment, seed, groups)
    prompts = list(dict.fromkeys(item.prompt for item in items))
    left = explicit_prompts(prompts, asked) if config["respect_prompt"] else {}
    placing: dict[str, Any] = {
        "templates": templates,
        "assignment": assignment,
        "targets": names,
        "left_alone": sorted(left),
        "seed": seed if assignment == "random" else None,
    }
    placing |= {"listed": config["prompts"]["listed"]} if file else {}
    return [replace(item, target="") if item.prompt in left else item for item in items], placing


def _check_prompts(backbone: Backbone, items: Sequence[Item], learnings: Sequence[Learning]) -> None:
    """Refuse prompts that the model does not take whole, and warn of concepts that cannot be said of all subjects."""
    said = [item.prompt for item in items]
    for learning in learnings:
        for prompts in learning.concepts.values():
            warn_of_unsaid(prompts, learning.method.subjects)
        said += [prompt for some in learning.wordings.values() for prompt in (*some.positive, *some.neutral)]
    backbone.encode_prompts(list(dict.fromkeys(said)))
