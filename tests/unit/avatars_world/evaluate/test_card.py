"""The model card's table: rows from measurements alone, written between the markers and nowhere else."""

from pathlib import Path

import pytest

from avatars_world.evaluate.card import END, START, table, write_card
from hspace_exp.errors import UserError

MEASURED = {
    "device": "CPU",
    "torch": "2.15",
    "git": "abc",
    "arguments": {"guidance_scale": 3.0},
    "speed": {"seconds_per_image": 0.2, "batch": 8},
    "obedience": {"n": 10, "probe": {"gender": 0.975}},
}


def test_table_shows_what_was_measured_and_nothing_else() -> None:
    text = table(MEASURED)
    assert "| prompt followed, gender (probe) | ≥ 97 % | 97.5 % | 10 |" in text
    assert "0.200 s" in text
    assert "VAE" not in text
    assert "commit abc" in text


def test_measurements_of_two_devices_stand_in_one_card() -> None:
    shown = {"flipped": 0.5, "success": 0.75, "success_extreme": 0.25, "profession_kept": 1.0, "scene_kept": 0.0}
    judged = {**shown, "skin_tone_kept": 0.125}
    values = ("female", "male", "young", "old")
    transplanted = {f"{kind}_{value}": judged for kind in ("prompt", "transplant") for value in values}
    vectors = {f"{value} x2 both": {**judged, "flipped": 0.6} for value in values}
    potency = {
        **{"n_per_profession": 3, "sdid_images": 5, "sdid_steps": 7},
        "transplant": dict.fromkeys(("clip", "probe"), transplanted),
        "sdid": dict.fromkeys(("clip", "probe"), vectors),
    }
    gpu = {**MEASURED, "device": "a GPU", "potency": potency}
    del gpu["speed"], gpu["obedience"]
    text = table(gpu, MEASURED)
    assert "| old: SDID vector x 2, both halves | 60.0 / 60.0 | 75.0 / 75.0 | 25.0 / 25.0 | 100.0 / 100.0 |" in text
    assert text.count("h transplanted") == 4
    assert "a GPU, torch 2.15: potency." in text
    assert "20 steps; CPU, torch 2.15: speed, obedience." in text


def test_card_is_rewritten_between_its_markers(tmp_path: Path) -> None:
    card = tmp_path / "MODEL_CARD.md"
    card.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    write_card(card, MEASURED)
    text = card.read_text()
    assert text.startswith(f"before\n{START}\n| what")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text


def test_card_without_markers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected the lines"):
        write_card(tmp_path / "none.md", MEASURED)
