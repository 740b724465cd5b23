"""Freezing modules so that nothing thaws them by accident."""

from __future__ import annotations

import types

from torch import nn


def _stay_in_eval_mode(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def freeze(module: nn.Module) -> nn.Module:
    """Switch off gradients and dropout for good: ``module.train()`` no longer does anything."""
    module.requires_grad_(False).eval()
    module.train = types.MethodType(_stay_in_eval_mode, module)  # type: ignore[method-assign]
    return module
