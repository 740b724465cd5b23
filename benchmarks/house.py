"""``make house``: how large the package is, what is too long in it, and whether its folders import one way only.

Exits with 1 where a bound is missed. Reads source only, so that it needs nothing but Python and git.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, RUN, RIVALS = "hspace_exp", "hspace_exp.pipeline.run", "hspace_rivals"
# Roots that import the package, never the reverse.
OTHERS = {
    RIVALS,
    "avatars_world",
    "hspace_reproduce",
    "hspace_studio",
    "benchmarks",
    "experiments",
    "tests",
}
MAX_LINES, MAX_FILES, MAX_MEDIAN, MAX_FUNCTION, MAX_RUN, MAX_PROSE = 15_000, 140, 130, 60, 160, 160
MAX_RIVALS = 1_500
SHOWN = 5  # longest functions

Edge = tuple[str, str]


def read(*patterns: str) -> dict[Path, str]:
    """Text of the files that git knows, by their place in the checkout."""
    listed = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, check=True, text=True)
    paths = [Path(name) for name in listed.stdout.splitlines()]
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in paths if (ROOT / path).is_file()}


def functions(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines of each function, and where it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.end_lineno - node.lineno + 1, f"{module}:{node.lineno} {node.name}"


def imports(tree: ast.AST, modules: set[str]) -> set[str]:
    """Those of the package's modules that one imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found |= inner or {node.module}
    return found & modules


def roots(tree: ast.AST) -> set[str]:
    """Roots that a module imports something of, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def folders(one: str, other: str) -> Edge | None:
    """The folders that two modules lie in, below all that is around both; None where one lies in the other's."""
    a, b = one.split("."), other.split(".")
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    return (".".join(a[: same + 1]), ".".join(b[: same + 1])) if min(len(a), len(b)) > same + 1 else None


def circles(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other, also by way of others."""
    reach = {name: set(targets) for name, targets in graph.items()}
    for middle in reach:
        for name in reach:
            if middle in reach[name]:
                reach[name] |= reach[middle]
    groups = {frozenset(other for other in reach[one] if one in reach[other]) for one in reach if one in reach[one]}
    return sorted(", ".join(sorted(group)) for group in groups)


def main() -> int:
    """Print the findings; returns the exit code."""
    texts = {".".join(p.with_suffix("").parts).removesuffix(".__init__"): t for p, t in read(f"{PACKAGE}/*.py").items()}
    lines = {module: len(text.splitlines()) for module, text in texts.items()}
    trees = {module: ast.parse(text) for module, text in texts.items()}
    long = sorted((one for module, tree in trees.items() for one in functions(module, tree)), reverse=True)
    shown = [f"{n} {where}" for i, (n, where) in enumerate(long) if i < SHOWN or n > MAX_FUNCTION]
    graph = {module: imports(tree, set(trees)) - {module} for module, tree in trees.items()}
    joined = {folders(one, other) for one, others in graph.items() for other in others} - {None}
    both = sorted(f"{pair[0]}, {pair[1]}" for pair in joined if pair and pair < pair[::-1] and pair[::-1] in joined)
    outside = sorted(f"{module}: {root}" for module, tree in trees.items() for root in roots(tree) & OTHERS)
    rivals = sum(len(text.splitlines()) for text in read(f"{RIVALS}/*.py").values())
    prose = [
        f"{path}:{number}"
        for path, text in read("*.md", "conf/*.yaml", ":!*table*/*.md", ":!*/table.md").items()  # those are generated
        for number, line in enumerate(text.splitlines(), start=1)
        if len(line) > MAX_PROSE and not line.startswith("|")
    ]
    found: list[tuple[str, float, float, list[str]]] = [
        ("lines", sum(lines.values()), MAX_LINES, []),
        ("files", len(lines), MAX_FILES, []),
        ("median of a module's lines", statistics.median(lines.values()), MAX_MEDIAN, []),
        (f"lines of {RUN}", lines[RUN], MAX_RUN, []),
        ("longest functions", long[0][0], MAX_FUNCTION, shown),
        ("folders that import each other", len(both), 0, both),
        ("circles of modules", len(circ := circles(graph)), 0, circ),
        ("imports of other roots", len(outside), 0, outside),
        (f"lines of {RIVALS}", rivals, MAX_RIVALS, []),
        (f"lines of prose over {MAX_PROSE} characters", len(prose), 0, prose),
    ]
    for what, value, bound, places in found:
        print(f"{'ok  ' if value <= bound else 'MISS'} {what}: {value:g} (at most {bound:g})", *places, sep="\n       ")
    return int(any(value > bound for _, value, bound, _ in found))


if __name__ == "__main__":
    sys.exit(main())
