"""A pipeline's calls under a ``Steering``: one run, or the unedited run first and then the edited one of its noise."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Self
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from hspace_exp.errors import UserError
from hspace_exp.methods.steering import Steering
from hspace_exp.models.backbone import Backbone, PipelineModel, network_of
from hspace_exp.models.families import family_of, latents_of, timestep_unit
from hspace_exp.models.hspace import edit_hspace
from hspace_exp.models.sampling import Hooks, share_of
from hspace_exp.models.sites import MID_BLOCK, Site

# Classes of diffusers whose calls were tried, see tests/unit/generation/test_steer_matrix.py.
_CALLS = ("", "Img2Img", "Inpaint", "ControlNet", "ControlNetImg2Img", "ControlNetInpaint")
_CALLS_XL = ("XL", "XLImg2Img", "XLInpaint", "XLControlNet")
_OTHERS = ("LatentConsistencyModelPipeline", "PixArtAlphaPipeline", "PixArtSigmaPipeline")
_FLOW = ("StableDiffusion3Pipeline", "SanaPipeline", "FluxPipeline")
TRIED = (*(f"StableDiffusion{call}Pipeline" for call in (*_CALLS, *_CALLS_XL)), *_OTHERS, *_FLOW)
_STEERED = "steered_by_hspace_exp"
_DIFFERS = "the second run called the U-Net otherwise than the unedited one: leave out callbacks, or say method='plain'"


@dataclass
class _Run:
    """A call of the pipeline, or by hand one of its U-Net alone."""

    steering: Steering = field(default_factory=Steering)
    site: Site = MID_BLOCK
    layout: tuple[Any, ...] = (0,)  # number of samples, whether guided, and size, as the U-Net was called first
    seen: list[tuple[float, Tensor]] = field(default_factory=list)  # share done and prediction of each unedited call
    left: Iterator[tuple[float, Tensor]] | None = None  # of these, in the second run
    rows: Tensor = field(default_factory=lambda: torch.zeros(0))  # of the batch that are predicted anew in it
    hooks: Hooks = nullcontext  # of it
    edited: bool = False
    decoded: tuple[Tensor, Any] | None = None  # latents that the VAE was given last, and what it made of them
    # Of the U-Net's call just now: share done, hooks, its prediction in the unedited run, h before and after the edit.
    done: float = 0.0
    open: ExitStack = field(default_factory=ExitStack)
    kept: Tensor | None = None
    h: tuple[list[Tensor], list[Tensor]] = ([], [])

    @property
    def twice(self) -> bool:
        """Whether an unedited run comes first."""
        return self.steering.foresight is not None


class Passes:
    """What stands between a pipeline and its U-Net inside the context, or from ``load`` to ``unload``.

    Attributes:
        unedited: what the unedited run of the last call gave; None where the method needs none.
        made: images of all calls so far.
    """

    def __init__(self, pipe: Any, guidance_scale: float | None = None) -> None:
        """Of a pipeline; ``guidance_scale`` is that of calls of its U-Net that no pipeline makes."""
        self.pipe, self.guidance_scale = pipe, guidance_scale
        self.unedited: Any = None
        self.made = 0
        self.site: str | None = None  # of the concepts, where the model has several
        self._schedule: tuple[Any, Any] = (None, None)  # the scheduler's timesteps, and on the CPU
        self._undo: ExitStack | None = None
        self._scale: Any = None  # of guidance, that the pipeline was called with
        self._run: _Run | None = None
        self._now: _Run | None = None

    def make(self, model: Backbone, count: int, guided: bool, scale: float | None) -> Steering:
        """What is done to a batch of ``count`` images, at a guidance scale (None: not known)."""
        raise NotImplementedError

    def load(self) -> None:
        """Start. Raises UserError: this was done, or the pipeline cannot be steered, see ``check``."""
        if self._undo is not None:
            raise UserError("this steers the pipeline already: unload it first, or make another steer(…)")
        check(self.pipe)
        self.unedited, self._undo = None, ExitStack()
        former, unet = type(self.pipe), network_of(self.pipe)

        @functools.wraps(former.__call__)
        def call(pipe: Any, *args: Any, **kwargs: Any) -> Any:
            given = inspect.signature(former.__call__).bind(pipe, *args, **kwargs)
            given.apply_defaults()  # for those that do not keep the scale where ``_steer`` finds it
            self._scale = given.arguments.get("guidance_scale")
            if (given.arguments.get("true_cfg_scale") or 1) > 1:
                raise UserError("steer does not know the halves of true_cfg_scale: leave it at 1")
            return self._called(functools.partial(former.__call__, pipe, *args, **kwargs), [*args, *kwargs.values()])

        named = {"__call__": call, "__module__": former.__module__, _STEERED: True}
        self.pipe.__class__ = type(former.__name__, (former,), named)
        self._undo.callback(setattr, self.pipe, "__class__", former)
        self._undo.callback(unet.register_forward_pre_hook(self._before, with_kwargs=True).remove)
        after = unet.register_forward_hook(self._after, with_kwargs=True, prepend=True, always_call=True)
        self._undo.callback(after.remove)

    def unload(self) -> None:
        """Leave the pipeline as it was before ``load``; nothing where it was not loaded."""
        if self._undo is not None:
            self._undo.close()
        self._undo = None

    def __enter__(self) -> Self:
        """Start."""
        self.load()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the pipeline as it was."""
        self.unload()

    def _called(self, call: Callable[[], Any], given: Sequence[Any]) -> Any:
        """The pipeline's call, in one run or in two."""
        if self._run is not None:
            raise UserError("the pipeline was called inside of its own call, which steer cannot follow")
        run, again = _Run(), _noise(given)
        self._run = run
        try:
            with _decoded_once(self.pipe.vae, run):
                output = call()
                self.unedited = output if run.twice else None
                if run.twice and self._goes_on(run):
                    again()
                    output = call()
                    if next(run.left or iter(()), None) is not None:
                        raise UserError(_DIFFERS)
            if not run.layout[0]:
                raise UserError("the pipeline did not call the U-Net that it had: change its parts before steer")
            if not run.edited and (len(run.rows) or not run.twice):
                raise UserError("no step of this call lies in the window of the edit: it changed nothing")
        finally:
            self._run = None
        self.made += run.layout[0]
        return output

    @torch.no_grad()
    def _goes_on(self, run: _Run) -> bool:
        """Set all for the second run; False where no sample needs one."""
        foresight, count, guided = run.steering.foresight, *run.layout[:2]
        if foresight is not None:
            rows, run.hooks = foresight.then(*foresight.read)
            run.rows, run.left = torch.cat([rows, rows + count]) if guided else rows, iter(run.seen)
        return len(run.rows) > 0

    def _before(self, unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Before a call of the U-Net: set the hooks of its step, and in a second run its rows."""
        _check_plain(unet)
        sample, unit = latents_of(args, kwargs), timestep_unit(unet)
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        exact = getattr(self.pipe, "current_timestep", None) if self._run else None  # FLUX rounds it for its network
        done = self._done(exact if exact is not None else timestep if unit == 1 else timestep * unit)
        run = self._now = self._run or _Run()
        self._steer(run, sample)
        given, hooks = (args, kwargs), run.steering.hooks
        run.open, run.kept, run.h = ExitStack(), None, ([], [])
        if run.left is not None:
            seen, run.kept = next(run.left, (None, None))
            if seen != done:
                raise UserError(_DIFFERS)
            given, hooks = _rows_of(given, run.rows, len(sample)), run.hooks
        site = run.site
        for one in (edit_hspace(unet, run.h[0].append, site), hooks(done), edit_hspace(unet, run.h[1].append, site)):
            run.open.enter_context(one)
        run.done = done
        return given

    def _done(self, timestep: Any) -> float:
        """Share of the schedule that is done. What lies in the scheduler's own tensor is known by its place there.

        So a device is waited for once a schedule, not in every step.
        """
        own = self.pipe.scheduler.timesteps
        if own is not self._schedule[0]:
            self._schedule = own, own.cpu()
        one = isinstance(timestep, Tensor) and timestep.numel() == 1
        if one and timestep.untyped_storage().data_ptr() == own.untyped_storage().data_ptr():
            timestep = self._schedule[1][(timestep.storage_offset() - own.storage_offset()) // own.stride(0)]
        return share_of(self._schedule[1], timestep)

    def _after(self, unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """After a call of the U-Net, which may have failed: hooks go, and in a second run all its rows are back."""
        run, self._now = self._now, None
        if run is not None:
            run.open.close()
        if run is None or output is None:
            return None
        if not run.h[0]:
            raise UserError("h was not reached: a compiled U-Net does not see edits, steer it without torch.compile")
        run.edited |= run.h[0][-1] is not run.h[1][-1]
        if run.kept is not None:
            return _with(output, run.kept.index_copy(0, run.rows.to(output[0].device), output[0]))
        if run.twice:
            run.seen.append((run.done, output[0]))
        return None

    def _steer(self, run: _Run, sample: Tensor) -> None:
        """Make what is done to this batch, where it is the first of a call or another than before."""
        by_hand, pipe = self._run is None, self.pipe
        scale = self.guidance_scale if by_hand else getattr(pipe, "guidance_scale", self._scale)
        guided = (scale or 1) > 1 if by_hand else bool(getattr(pipe, "do_classifier_free_guidance", (scale or 1) > 1))
        embedded = family_of(network_of(pipe)).flux
        guided, scale = guided and not embedded, scale if by_hand or guided or embedded else 1.0
        if guided and len(sample) % 2:
            raise UserError(f"the U-Net got {len(sample)} rows, which do not split into two halves of guidance")
        layout = (len(sample) // 2 if guided else len(sample), guided, *sample.shape[-2:])
        if layout == run.layout:
            return
        if run.twice:
            raise UserError("guidance or size changes within a call, which this method cannot do: say method='plain'")
        model = PipelineModel(pipe, sample, self.site)
        run.layout, run.site, run.steering = layout, model.site, self.make(model, layout[0], guided, scale)
        hooks = (getattr(hook, "__self__", None) for hook in network_of(pipe)._forward_pre_hooks.values())
        if run.twice and by_hand:
            raise UserError("this method needs the unedited run: call the pipeline itself, or say method='plain'")
        if run.twice and sum(isinstance(one, Passes) for one in hooks) > 1:
            raise UserError("methods that need the unedited run do not nest: name all files in one steer(…)")


def check(pipe: Any) -> None:
    """Refuse a pipeline that cannot be steered: of a class that was not tried, with a compiled U-Net, or without h."""
    import diffusers  # seconds, which importing this need not take

    kind = next(some for some in type(pipe).__mro__ if _STEERED not in vars(some))
    if kind.__name__ not in TRIED or getattr(diffusers, kind.__name__, None) is not kind:
        raise UserError(f"{kind.__name__} is no pipeline that steer was tried with; these are: {', '.join(TRIED)}")
    _check_plain(network_of(pipe))
    PipelineModel(pipe, torch.zeros(1, 1, 1, 1))


def _check_plain(unet: Any) -> None:
    """Refuse a compiled U-Net."""
    forward = hasattr(vars(unet).get("forward"), "_torchdynamo_orig_callable")
    if hasattr(unet, "_orig_mod") or unet._compiled_call_impl is not None or forward:
        raise UserError("a compiled U-Net does not see edits of h: steer the pipeline without torch.compile")


def _rows_of(given: Any, rows: Tensor, count: int) -> Any:
    """Arguments of the same form, with some rows of their tensors of ``count`` rows."""
    return tree_map_only(Tensor, lambda x: x[rows.to(x.device)] if x.ndim and len(x) == count else x, given)


def _with(output: Any, first: Tensor) -> Any:
    """A network's output, a tuple or one of diffusers' classes, with another first part."""
    return (first, *output[1:]) if isinstance(output, tuple) else type(output)(first)


def _noise(given: Sequence[Any]) -> Callable[[], None]:
    """What sets all generators of noise, a call's own and the global ones, back to where they are now."""
    own = [one for some in given for one in (some if isinstance(some, list) else [some])]
    states = [(one, one.get_state()) for one in own if isinstance(one, torch.Generator)]
    cpu, cuda = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def again() -> None:
        for one, state in states:
            one.set_state(state)
        torch.set_rng_state(cpu)
        torch.cuda.set_rng_state_all(cuda)

    return again


@contextmanager
def _decoded_once(vae: Any, run: _Run) -> Iterator[None]:
    """In the second run, latents that are to the bit those of the unedited one are not decoded again."""
    honest = vae.decode

    def decode(latents: Tensor, *args: Any, **kwargs: Any) -> Any:
        if run.left is None:
            run.decoded = latents, honest(latents, *args, **kwargs)
            return run.decoded[1]
        if run.decoded is None or run.decoded[0].shape != latents.shape:
            return honest(latents, *args, **kwargs)
        changed = (run.decoded[0] != latents).flatten(1).any(1)
        images = run.decoded[1][0].clone()
        if changed.any():
            images[changed] = honest(latents[changed], *args, **kwargs)[0]
        return _with(run.decoded[1], images)

    with patch.object(vae, "decode", decode):
        yield
