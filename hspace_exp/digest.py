"""Short names for plain data: equal data, equal digest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hspace_exp.errors import UserError

LENGTH = 16


def canonical_json(value: Any) -> str:
    """The one JSON text of ``value``: sorted keys, no spaces, no NaN; tuples read as lists.

    Raises:
        UserError: ``value`` holds NaN, Infinity or something that JSON has no form for.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    except (TypeError, ValueError) as error:
        raise UserError(f"expected plain data (numbers, text, lists, mappings) to digest: {error}") from error


def digest(value: Any) -> str:
    """The first 16 hex digits of SHA-256 over the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()[:LENGTH]
