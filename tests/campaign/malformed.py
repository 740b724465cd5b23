"""Malformed inputs: values fuzzed from the composed configuration, and files that were valid."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from hspace_exp.config.command_line import CONF, choices, composed
from tests.campaign.harness import Case

METHODS = (
    *("focused", "sdid", "lwim", "h_guidance", "original", "pca", "respodiff", "prompt", "score_matching"),
    *("focused_sdid", "lwim_margin"),
)
INPUTS = yaml.safe_load(Path(__file__).with_name("inputs.yaml").read_text("utf-8"))
PLACES = ("paths.cache={here}/cache", "hydra.run.dir={here}/run")
ODD_NAMES = (
    "é漢",
    "=1",
    "null",
    "3",
    "yes",
    "it's",
    "a b",
    "#x",
    "1e5",
    "0x10",
    "a,b",
    "-",
    "[x]",
    "{x}",
    "$x",
    "a;b",
    "007",
)
OTHERS = (
    None,
    "",
    "abc",
    -1,
    0,
    1.5,
    10**30,
    True,
    [],
    {},
    [1],
    {"a": 1},
    [[]],
    "\0",
    "é漢",
    float("nan"),
    1e308,
    [{}],
)
CELLS = ("", "nan", "inf", "abc", "-1", "1e400", '"', "é", "\0", "=1+1", "../x", "3,4", "unclear", "1.5")
METADATA = ("", "null", "[]", "{}", "abc", "-1", "1e400", "NaN", "[1]", '{"a": 1}', "../../x", "é" * 3000, "\n", "true")
WORDS = (
    *(
        "",
        "abc",
        "-1",
        "0",
        "1.5",
        "nan",
        "inf",
        "1e400",
        "9" * 30,
        "null",
        "a,b",
        "../x",
        "nosuch",
        "[1]",
        "é",
        "\udcff",
    ),
    *("x" * 300, "=", "'", "a\nb", " "),
)


class Inputs:
    """Malformed command lines and files around a tiny world and a finished run of it."""

    def __init__(self, tiny: list[str], run: Path, images: Path, seed: int) -> None:
        """Take overrides of a tiny run, the folder of a finished one, a folder of images, and what varies all of it."""
        self.tiny, self.run, self.images, self.random = tiny, run, images, random.Random(seed)
        self.pick = self.random.choice
        self.leaves = {name: self._leaves(name) for name in METHODS}
        self.record = json.loads((run / "record.json").read_text(encoding="utf-8"))
        self.concept = next((run / "concepts").glob("*.safetensors"))
        self.world = next(one for one in tiny if one.startswith("model.source="))
        steered = ("--set", self.world, "--device", "cpu", "--steps", "1")
        self.generate = ("generate", "a photo of a doctor", *steered, "--concepts")

    def _leaves(self, method: str) -> list[str]:
        cfg = composed([*self.tiny, f"method={method}", "logger=wandb"])
        plain: Any = OmegaConf.to_container(cfg, resolve=False)
        found = []

        def walk(node: Any, where: str) -> None:
            found.append(where)
            if isinstance(node, Mapping):
                for key, inner in node.items():
                    walk(inner, f"{where}.{key}".lstrip("."))

        walk(plain, "")
        return [name for name in found if name]

    def __iter__(self) -> Iterator[Case]:
        """First what must be refused and what must be taken, once each; then for ever what is drawn."""
        yield from (self.of_run(*text.split(" "), kind="nonsense", must_refuse=True) for text in INPUTS["nonsense"])
        yield from map(self.prompt, INPUTS["verbatim"])
        yield from map(self.odd_place, ODD_NAMES)
        kinds: tuple[Callable[[], Case], ...] = (
            *(self.value, self.value, self.value, self.value, self.group, self.grammar, self.yaml, self.record_file),
            *(self.record_file, self.table_file, self.concept_file, self.words, self.words, self.terminal, self.sweep),
        )
        while True:
            yield self.pick(kinds)()

    def of_run(self, *words: str, kind: str, **more: Any) -> Case:
        """A run on the tiny world, whose folder and cache are the case's own."""
        keys = {word.split("=")[0] for word in words}
        fixed = [one for one in (*self.tiny, *PLACES) if one.split("=")[0] not in keys]
        chosen = [word for word in words if word.split("=")[0] in ("method", "logger", "mask")]
        return Case(kind, ("run", *chosen, *fixed, *(word for word in words if word not in chosen)), **more)

    def prompt(self, text: str) -> Case:
        """A concept of one's own, or an image, from words that a grammar has other uses for."""
        words = ("attribute=custom", f"attribute.positive={text} smiling", "attribute.neutral=a person")
        own = "{x}" in text or "{" not in text
        return self.of_run("method=sdid", *words, "attribute.concept=own", kind="prompts", must_accept=own)

    def odd_place(self, name: str) -> Case:
        """Folders whose names are numbers, words of YAML, or hold what a grammar has other uses for."""
        words = (f"paths.cache={name}/cache", f"hydra.run.dir={name}/run")
        return self.of_run("method=sdid", *words, kind="names of folders", must_accept=True)

    def value(self) -> Case:
        """A leaf or a node of the configuration with a value of another type, sign or size."""
        method = self.pick(METHODS)
        key, value = self.pick(self.leaves[method]), self.pick(INPUTS["values"])
        plus = "++" if self.random.random() < 0.2 else ""
        return self.of_run(f"method={method}", f"{plus}{key}={value}", kind="configuration: values")

    def group(self) -> Case:
        """A group set to nothing, to another group's choice, to a path, or taken away."""
        groups = sorted(path.name for path in CONF.iterdir() if path.is_dir())
        name = self.pick(
            [*choices(self.pick(groups)), "null", "", "nosuch", "../method/sdid", "/etc/passwd", "[]", "é"]
        )
        forms = ["{}={}", "{}={}", "~{}", "+{}={}", "++{}={}", "{}@model={}", "{}@nosuch={}", "~{}={}"]
        return self.of_run(self.pick(forms).format(self.pick(groups), name), kind="configuration: groups")

    def grammar(self) -> Case:
        """Words that no grammar has."""
        keys = [*self.leaves["sdid"], "", "hydra.run.dir", "hydra.job.chdir", "hydra.verbose", "hydra.mode"]
        texts = INPUTS["texts"]
        word = self.pick(texts) + self.pick(keys) + self.pick(texts) + "=" + self.pick(texts)
        word = "".join(self.random.sample(word, len(word))) if self.random.random() < 0.3 else word
        return self.of_run(word.replace("\0", "") or "x", kind="configuration: grammar")

    def yaml(self) -> Case:
        """A file of conf/ that is no YAML, goes in circles, or is in another encoding."""
        group = self.pick(["experiment", "experiment", "method", "attribute", "prompts", "protocol"])
        bodies = [text.encode("latin-1") for text in INPUTS["bodies"]]
        for path in sorted((CONF / group).glob("*.yaml"))[:4]:
            bodies += [self.flipped(path.read_bytes()), self.cut(path.read_bytes())]
        files = {f"mine/{group}/mine.yaml": self.pick(bodies)}
        word = "+experiment=mine" if group == "experiment" else f"{group}=mine"
        tiny = [one for one in self.tiny if group != "experiment" or not one.startswith("+experiment")]
        return Case("YAML files", ("run", "--config-dir", "{here}/mine", *tiny, *PLACES, word), files)

    def sweep(self) -> Case:
        """A multirun of which one word is wrong."""
        keys = [
            "method",
            "seed",
            "nosuch",
            "protocol.training_steps",
            "hydra/launcher",
            "hydra/sweeper",
            "hydra.sweep.dir",
        ]
        values = [
            "nosuch",
            "sdid,nosuch",
            "a,b",
            "choice(1,2",
            "range(1)",
            "''",
            "null",
            "[",
            "glob(*)",
            "interval(0,1)",
        ]
        words = ("run", "-m", *self.tiny, "paths.cache={here}/cache", f"{self.pick(keys)}={self.pick(values)}")
        return Case("sweeps", words)

    def record_file(self) -> Case:
        """A record of another form, before a command that reads records."""
        if self.random.random() < 0.3:
            data = self.pick([self.flipped, self.cut])(json.dumps(self.record).encode())
        else:
            data = json.dumps(self.other_form(self.record)).encode()
        files: dict[str, bytes | Path] = {"a": self.run, "b": self.run, "a/record.json": data}
        lines = [
            "tables a",
            "tables a b",
            "report a",
            "compare a b",
            "evaluate a",
            "tables a --format latex",
            "report a b",
        ]
        lines += ["tables --format latex a", "tables a --metrics all", "reproduce --protocol smoke --tables-only"]
        return Case("records", tuple(self.pick(lines).split()), files)

    def table_file(self) -> Case:
        """A CSV table of another form, before a command that reads it."""
        name = self.pick(["judged.csv", "judged.csv", "manifest.csv", "metrics.csv"])
        lines = [line.split(",") for line in (self.run / name).read_text("utf-8").splitlines()]
        row = self.random.randrange(len(lines))
        column, change = self.random.randrange(len(lines[row])), self.random.randrange(10)
        if change < 4:
            lines[row][column] = self.pick(CELLS)
        elif change == 4:
            lines = [line[:column] + line[column + 1 :] for line in lines]
        elif change == 5:
            lines.append(lines[row])
        elif change == 6:
            del lines[row]
        data = "\n".join(",".join(line) for line in lines).encode()
        if change > 6:
            data = self.pick(
                [self.flipped(data), self.cut(data), data.decode().encode("utf-16"), b"", b"\xef\xbb\xbf" + data]
            )
        files: dict[str, bytes | Path] = {"a": self.run, "b": self.run, f"a/{name}": data}
        lines_ = ["report a", "compare a b", "compare b a", "tables a", "evaluate a/manifest.csv --evaluator avatars"]
        return Case("tables of images", tuple(self.pick(lines_).split()), files)

    def concept_file(self) -> Case:
        """A concept file whose bytes or metadata are others, before a command that reads it."""
        data = self.concept.read_bytes()
        size = int.from_bytes(data[:8], "little")
        if self.random.random() < 0.6:
            header = json.loads(data[8 : 8 + size])
            metadata = header["__metadata__"]
            key = self.pick(sorted(metadata))
            metadata[key] = self.pick(METADATA)
            if self.random.random() < 0.2:
                del metadata[key]
            text = json.dumps(header).encode()
            data = len(text).to_bytes(8, "little") + text + data[8 + size :]
        else:
            data = self.pick([self.flipped(data), self.cut(data), b"", data + b"x"])
        lines = ["concepts show x.safetensors", "concepts show --json x.safetensors", "steer x.safetensors"]
        lines += [f"concepts export x.safetensors t.pt --format {form}" for form in ("concept_emb", "fc1")]
        lines += ["concepts import x.safetensors folder", "concepts vector-math new.safetensors --add x.safetensors"]
        words = self.pick([*(tuple(line.split()) for line in lines), (*self.generate, "x.safetensors", "--seeds", "1")])
        return Case("concept files", words, {"x.safetensors": data})

    def words(self) -> Case:
        """Options of commands with values of another kind, and names that no file has."""
        judge = next(one for one in self.tiny if one.startswith("evaluator.weights=")).partition("=")[2]
        quick = f"--set evaluator.weights={judge} --set evaluator.labelled=0 --repeats 10"
        evaluate = f"evaluate images --evaluator avatars {quick}"
        forms = (
            (self.generate, "ask strength seeds assignment num-inference-steps image-seed chunk-size device out model"),
            (self.generate, "method frequency scheduler set concepts -"),
            (evaluate, "reference attribute evaluator out name set"),
            (evaluate, "device repeats batch seed -"),
            ("compare a a", "metrics repeats seed -"),
            ("tables a", "format out metrics -"),
            ("report a", "out title -"),
            (
                "reproduce logger=none --experiments frequency_cutoff --protocol smoke",
                "protocol model experiments methods jobs out -",
            ),
            ("concepts show a/concepts", "json -"),
            (
                "concepts vector-math new.safetensors --add a/concepts/female.safetensors",
                "scale subtract orthogonal-to -",
            ),
            ("concepts export a/concepts t.pt", "format -"),
            ("steer a/concepts", "prompt -"),
            ("doctor --experiment gender_fairness", "experiment -"),
        )
        start, options = self.pick(forms)
        words = tuple(start.split()) if isinstance(start, str) else (*start, "a/concepts")
        option, value = self.pick(options.split()), self.pick(WORDS)
        more = (value,) if option == "-" else (f"--{option}", value)
        return Case(f"options of {words[0]}", (*words, *more), {"a": self.run, "images": self.images})

    def terminal(self) -> Case:
        """A terminal that is not UTF-8 and names that look like something else; nothing may be refused for them."""
        odd = self.pick(ODD_NAMES)
        lines = [("tables", "-"), ("report", "-"), ("compare", "-", "-"), ("tables", "--format", "latex", "-")]
        lines += [
            ("concepts", "show", "-/concepts"),
            ("steer", "-/concepts/female.safetensors"),
            (*self.generate, "-/concepts"),
        ]
        words = tuple(
            f"./{odd}{word[1:]}" if word[:1] == "-" and word[:2] != "--" else word for word in self.pick(lines)
        )
        encoding = self.pick(["cp1252", "ascii", "utf-8"])
        return Case("terminals and names", words, {odd: self.run}, must_accept=True, encoding=encoding)

    def other_form(self, value: Any) -> Any:
        """A copy of plain data with one part of it something else, near its root more often than deep inside."""
        value = json.loads(json.dumps(value))
        places: list[tuple[Any, Any]] = []

        def walk(node: Any, depth: int) -> None:
            for key in [*node] if isinstance(node, dict) else range(len(node)):
                places.extend([(node, key)] * max(1, 6 - 2 * depth))
                if isinstance(node[key], dict | list):
                    walk(node[key], depth + 1)

        walk(value, 0)
        node, key = self.pick(places)
        if self.random.random() < 0.2:
            del node[key]
        else:
            node[key] = self.pick(OTHERS)
        return value

    def flipped(self, data: bytes) -> bytes:
        """With one bit another."""
        where = self.random.randrange(len(data))
        return data[:where] + bytes([data[where] ^ (1 << self.random.randrange(8))]) + data[where + 1 :]

    def cut(self, data: bytes) -> bytes:
        """Without its end."""
        return data[: self.random.randrange(len(data))]
