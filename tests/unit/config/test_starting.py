"""What commands do before they import torch."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from hspace_exp.config.starting import importing


def test_nothing_is_collected_while_modules_are_imported() -> None:
    assert gc.isenabled()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), importing():
        raise ImportError("no such module")
    assert gc.isenabled()
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()  # as it was
    finally:
        gc.enable()


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_wait_without_spinning_unless_the_user_wants_it(given: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given:
        environment["OMP_WAIT_POLICY"] = given
    script = "import os, sys, hspace_exp.__main__; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == [given or "PASSIVE", "False"]
