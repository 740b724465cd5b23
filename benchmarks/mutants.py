"""The share of small changes of the code that its tests notice; see docs/testing.md.

mutmut makes the mutants: functions with one operator, constant, argument or word changed. They are tried in a clone of
the last commit. pytest collects and runs the tests once; then each mutant has a fork of that process to itself, with
the tests that call its function, until one of them fails.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import functools
import gc
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from _pytest.warnings import catch_warnings_for_item
from mutmut.mutation import trampoline
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.state import state
from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[1]


class _WithoutTexts(ast.NodeTransformer):
    """Takes away what errors and messages say: the arguments of raised exceptions and of ``log``."""

    def visit(self, node: ast.AST) -> ast.AST:
        call = node.exc if isinstance(node, ast.Raise) else node
        if isinstance(call, ast.Call) and (call is not node or ast.unparse(call.func).startswith("log.")):
            call.args, call.keywords = [], []
        return super().visit(node)


def mutate(file: Path) -> dict[str, tuple[str, bool]]:
    """Put all mutants of a file into it; name of each → its change, and whether that is of texts alone."""
    made, module = mutate_file_contents(str(file), file.read_text()), ".".join(file.with_suffix("").parts)
    file.write_text(made.code)
    functions = {node.name: node for node in ast.walk(ast.parse(made.code)) if isinstance(node, ast.FunctionDef)}
    found = {}
    for name in made.mutant_names:
        pair = [functions[one] for one in (name.partition("__mutmut_")[0] + "__mutmut_orig", name)]
        before, after = (ast.unparse(node).replace(node.name, "function") for node in pair)
        changed = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "-+"]
        plain = [ast.dump(_WithoutTexts().visit(ast.parse(text))) for text in (before, after)]
        found[f"{module.removesuffix('.__init__')}.{name}"] = ("\n".join(changed), plain[0] == plain[1])
    return found


class Forks:
    """Runs the collected tests once, and then mutants, each in a fork."""

    def __init__(self, names: Sequence[str], workers: int) -> None:
        """Take the mutants' names; ``result`` says what became of each."""
        self.names, self.workers, self.result = names, workers, dict[str, str]()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of pytest's own loop."""
        items, cost, users = session.items, dict[pytest.Item, float](), defaultdict(list)
        trampoline.set_mutant_under_test("stats")
        for item, following in zip(items, [*items[1:], items[0]], strict=True):
            state()._stats.clear()
            begin = time.process_time()
            if texts := _failures(item, following):
                raise pytest.UsageError(f"{item.nodeid} fails without any mutant:\n{texts[0]}")
            cost[item] = time.process_time() - begin
            for function in state()._stats:
                users[function].append(item)
        gc.unfreeze()  # what tests/conftest.py set aside
        caches = [one for one in gc.get_objects() if type(one) is functools._lru_cache_wrapper]
        caches = [one for one in caches if str(one.__module__).startswith("hspace_exp")]
        running: dict[int, str] = {}
        for name in self.names:
            tests = sorted(users[name.partition("__mutmut_")[0]], key=cost.__getitem__)
            if len(running) == self.workers:
                self._wait(running)
            if (child := os.fork()) == 0:
                seconds = 20 + 10 * int(sum(map(cost.__getitem__, tests)))  # of the processor
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
                trampoline.set_mutant_under_test(name)
                for cache in caches:
                    cache.cache_clear()
                try:
                    session._setupstate.teardown_exact(tests[0] if tests else None)  # folders of other tests
                    after = [*tests[1:], items[tests[-1:] == items[:1]]]
                    os._exit(any(map(_failures, tests, after)))
                except BaseException:
                    os._exit(1)
            running[child] = name
        while running:
            self._wait(running)
        return True

    def _wait(self, running: dict[int, str]) -> None:
        child, status = os.wait()
        name = running.pop(child)
        self.result[name] = "killed" if status else "lives"
        print(len(self.result), self.result[name], name, file=sys.stderr, flush=True)


def _failures(item: pytest.Item, following: pytest.Item) -> list[str]:
    with catch_warnings_for_item(config=item.config, ihook=item.ihook, when="runtest", item=item):
        return [one.longreprtext for one in runtestprotocol(item, log=False, nextitem=following) if one.failed]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="code to change, e.g. hspace_exp/masks")
    parser.add_argument("tests", nargs="+", help="tests to run, e.g. tests/unit/masks")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random; all without this")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file: the mutants that live, and their changes")
    asked = parser.parse_args()
    out, clone = asked.out.resolve(), Path(tempfile.mkdtemp()) / "hspace_exp"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    os.chdir(clone)
    sys.path.insert(0, str(clone))
    mutants = {name: made for file in sorted(asked.folder.rglob("*.py")) for name, made in mutate(file).items()}
    judged = sorted(name for name, (_, texts_alone) in mutants.items() if not texts_alone)
    drawn = random.Random(asked.seed).sample(judged, min(asked.sample or len(judged), len(judged)))
    forks = Forks(drawn, asked.workers)
    pytest.main(["-q", "-p", "no:xdist", "-p", "no:cacheprovider", *asked.tests], plugins=[forks])
    left = {name: mutants[name][0] for name, value in forks.result.items() if value == "lives"}
    killed, count = len(forks.result) - len(left), len(forks.result)
    low, high = (100 * bound for bound in binomtest(killed, count).proportion_ci(method="wilson"))
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip()
    line = f"{asked.folder} at {commit}: {len(mutants)} mutants, {len(mutants) - len(judged)} of texts alone; "
    line += f"{killed} of {count} killed, {100 * killed / count:.1f} % (95 % interval {low:.1f} to {high:.1f})"
    out.write_text(json.dumps({"result": line, "left": left}, indent=1))
    print(line)


if __name__ == "__main__":
    main()
