"""The table of measurements in the model card, made from ``measurements.json`` alone."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_text

START, END = "<!-- measurements -->", "<!-- end of measurements -->"
PARTS = ("renders", "obedience", "bias", "potency", "speed", "size", "preview")
Row = tuple[str, str, str, str]


def share(value: float) -> str:
    """A share in [0, 1] as a percentage."""
    return f"{100 * value:.1f} %"


def rows(measured: Mapping[str, Any]) -> list[Row]:
    """What was measured, its bar, the value and N; parts that were not measured are left out."""
    found: list[Row] = []
    if "renders" in measured:
        part = measured["renders"]
        n = str(part["n"])
        found.append(("VAE on held-out renders, PSNR", "≥ 33 dB", f"{part['vae_psnr']:.2f} dB", n))
        for judge, accuracy in part["accuracy"].items():
            for name, value in accuracy.items():
                bar = "≥ 98 %" if name == "gender" else "≥ 95 %"
                found.append((f"{judge} on held-out renders, {name}", bar if judge == "clip" else "", share(value), n))
        for name, value in part["sam_iou"].items():
            bar = {"person_box": "≥ 0.95", "gender_box": "≥ 0.80"}.get(name, "")
            found.append((f"SAM on held-out renders, IoU, {name.replace('_', ', ')}", bar, f"{value:.3f}", n))
    if "obedience" in measured:
        part = measured["obedience"]
        bars = {"gender": "≥ 97 %", "profession": "≥ 93 %", "scene": "≥ 97 %"}
        for judge in ("clip", "probe"):
            for name, value in part.get(judge, {}).items():
                found.append(
                    (f"prompt followed, {name} ({judge})", bars.get(name, "≥ 90 %"), share(value), str(part["n"]))
                )
    if "bias" in measured:
        for judge, part in measured["bias"].items():
            n = f"36 x {part['n_per_profession']}"
            data, model = part["deviation_ratio_data"], part["deviation_ratio_model"]
            found.append((f"deviation ratio, gender ({judge})", f"{data - 0.05:.2f} … 0.90", f"{model:.3f}", n))
            if part["correlation"] is not None:
                found.append(
                    (f"P(female), correlation with the data ({judge})", "≥ 0.9", f"{part['correlation']:.3f}", n)
                )
    if "speed" in measured:
        part = measured["speed"]
        value = f"{part['seconds_per_image']:.3f} s"
        found.append((f"seconds an image, batch {part['batch']}, {measured['device']}", "≤ 0.35 s", value, ""))
    if "size" in measured:
        part = measured["size"]
        found.append(
            ("all weights; largest file", "≤ 40; ≤ 16 MB", f"{part['weights_mb']}; {part['largest_file_mb']} MB", "")
        )
        found.append(("U-Net parameters", "≤ 12 M", f"{part['unet_parameters'] / 1e6:.2f} M", ""))
    return found


def potency_rows(part: Mapping[str, Any]) -> list[list[str]]:
    """What transplants of h and vectors did, by both judges: the cells of one line each."""
    found = []
    for value in ("female", "male", "young", "old"):
        for kind, title in (("prompt", "the prompt itself"), ("transplant", "h transplanted")):
            both = [part["transplant"][judge][f"{kind}_{value}"] for judge in ("clip", "probe")]
            found.append([f"{value}: {title}", *_pairs(both)])
        for name in part["sdid"]["clip"]:
            if name.startswith(f"{value} "):
                strength, branch = name.removeprefix(f"{value} x").split(" ")
                half = "both halves" if branch == "both" else "conditional half"
                both = [part["sdid"][judge][name] for judge in ("clip", "probe")]
                found.append([f"{value}: SDID vector x {strength}, {half}", *_pairs(both)])
    return found


def _pairs(both: Sequence[Mapping[str, float]]) -> list[str]:
    names = ("flipped", "success", "success_extreme", "profession_kept", "scene_kept", "skin_tone_kept")
    return [" / ".join(f"{100 * some[name]:.1f}" for some in both) for name in names]


def table(*measured: Mapping[str, Any]) -> str:
    """Markdown tables of one or several measurements, with what made them."""
    lines = ["| what | bar | measured | N |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for some in measured for row in rows(some)]
    for some in measured:
        if "potency" in some:
            part = some["potency"]
            lines += [
                "",
                f"What h can do, N = 36 x {part['n_per_profession']} images; SDID vectors of {part['sdid_images']} x+ "
                f"a concept and {part['sdid_steps']} steps of Adam (learning rate 0.1, batch 8).\nIn percent, by the "
                "zero-shot judge / by the probe. Bars, at strength 2 or less: flipped 70, success on the eleven "
                "extreme professions 80,\nprofession kept 80.",
                "",
                "| | flipped | success | extreme professions | profession kept | scene kept | skin tone kept |",
                "|---|---|---|---|---|---|---|",
            ]
            lines += ["| " + " | ".join(cells) + " |" for cells in potency_rows(part)]
    for some in measured:
        what = ", ".join(name for name in some if name in PARTS and name != "preview")
        made = f"guidance {some['arguments']['guidance_scale']}, 20 steps; {some['device']}, torch {some['torch']}"
        lines += ["", f"Measured at commit {some['git']} with {made}: {what}."]
    return "\n".join(lines)


def write_card(path: Path, *measured: Mapping[str, Any]) -> None:
    """Replace what stands between the markers of the model card at ``path``.

    Raises:
        UserError: the card or its markers are missing.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if START not in text or END not in text:
        raise UserError(f"expected the lines {START!r} and {END!r} in {path}; add them where the table belongs")
    before, rest = text.split(START, 1)
    after = rest.split(END, 1)[1]
    write_text(path, f"{before}{START}\n{table(*measured)}\n{END}{after}")


def main() -> int:
    """Write the tables of a card from measurements made on one or several devices."""
    parser = argparse.ArgumentParser(description=main.__doc__, prog="python -m avatars_world.evaluate.card")
    parser.add_argument("card", type=Path)
    parser.add_argument("measurements", type=Path, nargs="+", help="measurements.json, a device each")
    a = parser.parse_args()
    try:
        write_card(a.card, *(json.loads(path.read_text(encoding="utf-8")) for path in a.measurements))
    except (UserError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
