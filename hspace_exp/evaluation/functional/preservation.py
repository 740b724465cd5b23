"""What an edit left alone, as judged classes before and after."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hspace_exp.errors import UserError


def any_changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Tensor:
    """Whether at least one attribute of an image changed: entanglement is the mean of this.

    Args:
        before: (N,) classes of the unedited images for each attribute that should have stayed; negative where unclear,
            which is no change.
        after: the same of the edited images.

    Returns:
        (N,) bool.
    """
    if not before or before.keys() != after.keys():
        raise UserError(f"expected the same attributes before and after, got {sorted(before)} and {sorted(after)}")
    changed = [(before[n] != after[n]) & (before[n] >= 0) & (after[n] >= 0) for n in before]
    return torch.stack(changed).any(0)
