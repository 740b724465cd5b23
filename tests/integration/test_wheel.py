"""The wheel alone, without the extra that draws people, runs the gender experiment to its end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DRAWING = ("python_avatars", "resvg_py")
SMOKE = ("+experiment=gender_fairness", "protocol=smoke", "method=lwim")  # lwim needs all weights of the package
UV = shutil.which("uv") or str(Path(sys.prefix).parent / ".bootstrap" / "bin" / "uv")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel, what it depends on, and nothing that can draw people."""
    if not Path(UV).exists():
        pytest.skip("needs uv to build a wheel")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "bare")
    python = folder / "bare" / "bin" / "python"
    subprocess.run([UV, "pip", "install", "--quiet", "--no-deps", "--python", python, wheel], check=True)
    (packages,) = (folder / "bare").glob("lib/python*/site-packages")
    without = f"import sys; sys.modules.update(dict.fromkeys({DRAWING}))"
    (packages / "bare.pth").write_text(f"{sysconfig.get_path('purelib')}\n{without}\n")
    return python


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return started(folder, python, "-m", "hspace_exp", *arguments)


def started(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_wheel_in_a_bare_environment_runs_the_gender_experiment(python: Path, tmp_path: Path) -> None:
    code = "import hspace_exp, importlib.metadata as m; print(hspace_exp.__file__, m.version('hspace-exp'), sep='\\n')"
    file, version = started(tmp_path, python, "-c", code).stdout.splitlines()
    assert Path(file).is_relative_to(python.parents[1])
    assert Path(file).with_name("py.typed").exists()
    assert run(python, tmp_path, "--version").stdout == f"hspace-exp {version}\n"
    done = run(python, tmp_path, *SMOKE, "logger=none", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "record.json").read_text())["metrics"]
    assert metrics["classifier_accuracy"]["n"] == 216
    assert metrics["classifier_accuracy"]["value"] > 0.9
    assert metrics["mask_iou"]["n"] == 72

    concepts = sorted(map(str, (tmp_path / "run" / "concepts").glob("*.safetensors")))
    for command, said in (
        (["tables", "run"], "Success"),
        (["report", "run", "--out", "report.html"], ""),
        (["concepts", "show", concepts[0]], "h"),
        (["doctor", "method=lwim"], ""),
        (["evaluate", "run", "--out", "again", "--set", "evaluator.labelled=36"], "Success"),
        (["generate", "--help"], "concept"),
        (["steer", concepts[0]], "with steer(pipe, "),
    ):
        outcome = run(python, tmp_path, *command)
        assert outcome.returncode == 0, (command, outcome.stderr)
        assert said in outcome.stdout, (command, outcome.stdout)

    drawn = run(python, tmp_path, *SMOKE, "mask=oracle", "hydra.run.dir=drawn")
    assert drawn.returncode == 2
    assert "pip install 'hspace-exp[avatars]'" in drawn.stderr.splitlines()[-1]
