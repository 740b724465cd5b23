"""What ``make house`` counts."""

from __future__ import annotations

import ast
import subprocess
import sys

from benchmarks.house import ROOT, circles, folders, functions, imports, roots

MODULES = {"p", "p.a.x", "p.a.y", "p.b", "p.b.z"}


def test_imports_of_modules_and_of_names_are_found() -> None:
    tree = ast.parse(
        "import p.a.x\nfrom p.a import y\nfrom p.b.z import f\nimport os\ndef g():\n    from p.b import w\n"
    )
    assert imports(tree, MODULES) == {"p.a.x", "p.a.y", "p.b.z", "p.b"}


def test_roots_are_found_inside_functions_too() -> None:
    tree = ast.parse("import p.a, os.path as o\nfrom . import x\nfrom .q import y\ndef g():\n    from r.b import w\n")
    assert roots(tree) == {"p", "os", "r"}


def test_folders_are_compared_below_what_is_around_both() -> None:
    assert folders("p.a.x", "p.b.z") == ("p.a", "p.b")
    assert folders("p.a.c.x", "p.a.d.z") == ("p.a.c", "p.a.d")
    assert folders("p.a.x", "p.a.y") is None
    assert folders("p.a.c.x", "p.a.y") is None
    assert folders("p.a.x", "p.errors") is None
    assert folders("p.a.x", "p") is None


def test_circles_may_go_round_by_others() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"f"}, "f": {"e"}}) == ["a, b, c", "e, f"]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_functions_are_measured_from_def_to_last_line() -> None:
    tree = ast.parse("@d\ndef f(\n    a,\n):\n    return a\n")
    assert list(functions("m", tree)) == [(4, "m:2 f")]


def test_the_exit_code_says_whether_a_bound_is_missed() -> None:
    done = subprocess.run([sys.executable, ROOT / "benchmarks/house.py"], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == int("MISS" in done.stdout)
    assert sum(line.startswith(("ok  ", "MISS")) for line in done.stdout.splitlines()) == 10
