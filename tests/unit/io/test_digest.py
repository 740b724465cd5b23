"""Digests of plain data."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hspace_exp.errors import UserError
from hspace_exp.io.digest import digest

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_is_sha256_of_canonical_json() -> None:
    assert digest({"b": [1, 2.5], "a": "ü"}) == hashlib.sha256(b'{"a":"\\u00fc","b":[1,2.5]}').hexdigest()[:16]


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(list(value.items()))))


def test_values_and_types_matter() -> None:
    assert len({digest(v) for v in (1, "1", 1.5, True, None, [1], {"1": 1}, [])}) == 8
    assert digest((1, 2)) == digest([1, 2])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), {"a": b"x"}])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(UserError, match="expected plain data"):
        digest(value)
