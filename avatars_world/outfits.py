"""Which garment, hat and prop tell each profession: conventional icons, invented for this world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from avatars_world import garments as g
from avatars_world.shapes import shade


@dataclass(frozen=True)
class Outfit:
    """How one profession is drawn.

    ``garment`` takes the main colour, so that it can vary a little from person to person.
    """

    garment: Callable[[str], str]
    colour: str
    prop: str
    hat: str | None = None
    hat_colour: str = "#ffffff"


OUTFITS: dict[str, Outfit] = {
    "attendant": Outfit(
        lambda c: g.suit(c, "#ffffff", None) + g.neckerchief("#e02b3c"), "#1f3a7a", "tray", "pillbox", "#1f3a7a"
    ),
    "cashier": Outfit(lambda c: g.apron(c, "#ffd93b"), "#d62839", "register"),
    "teacher": Outfit(lambda c: g.cardigan(c, "#ffffff"), "#3f7d4e", "apple"),
    "nurse": Outfit(g.scrubs, "#5cc6e8", "syringe", "nurse_cap", "#ffffff"),
    "assistant": Outfit(lambda c: g.collared(c, "#ffffff"), "#b58be0", "coffee"),
    "secretary": Outfit(lambda c: g.bow_blouse(c, "#c2185b"), "#f7b7cf", "envelope"),
    "cleaner": Outfit(g.jumpsuit_in("#ffffff"), "#7ed957", "spray", "bandana", "#ffdf3a"),
    "housekeeper": Outfit(lambda c: g.maid_dress(c, "#ffffff"), "#23262d", "duster", "headband", "#ffffff"),
    "receptionist": Outfit(lambda c: g.suit(c, "#ffe9f2", None), "#7b2cbf", "bell", "headset", "#2b2f38"),
    "clerk": Outfit(lambda c: g.waistcoat(c, "#dfe7ee", "#4a3b2a"), "#7d7a35", "folders", "visor", "#2e9e5b"),
    "counselor": Outfit(lambda c: g.cardigan(c, "#7fd1c7"), "#e8a33d", "bubble"),
    "designer": Outfit(g.turtleneck, "#22252c", "palette", "beret", "#d7263d"),
    "hairdresser": Outfit(lambda c: g.apron("#2a2a33", c), "#ff6fa5", "scissors"),
    "writer": Outfit(lambda c: g.coat(c, g.turtleneck("#e8d9b8")), "#8a5a34", "quill"),
    "baker": Outfit(lambda c: g.apron("#fff4e3", c), "#8fb3d1", "bread", "baker_cap", "#fff4e3"),
    "librarian": Outfit(lambda c: g.cardigan(c, "#f3e3bf"), "#7a1f3d", "books"),
    "tailor": Outfit(lambda c: g.waistcoat(c, "#ffffff", None) + g.tape_measure(), "#3a3f6b", "spool"),
    "driver": Outfit(
        lambda c: g.coat(c, g.collared("#ffffff", "#e6e6e6") + g.tie("#111418")),
        "#59626e",
        "wheel",
        "flat_cap",
        "#3b424c",
    ),
    "supervisor": Outfit(
        lambda c: g.collared(c, "#ffffff") + g.tie("#f08a24"), "#3f8fe0", "clipboard", "hard_hat", "#f4f6f8"
    ),
    "janitor": Outfit(g.jumpsuit_in("#2d4a46"), "#5f8f89", "broom", "baseball_cap", "#2d4a46"),
    "cook": Outfit(lambda c: g.chef_coat(c, "#2b2f38", "#e02b3c"), "#f7f8fa", "pan", "toque", "#ffffff"),
    "laborer": Outfit(lambda c: g.waistcoat_plain(c, "#9c4a2f"), "#6b5a45", "shovel", "beanie", "#c8502f"),
    "construction worker": Outfit(
        lambda c: g.reflective(c, "#2c4a73", "#f7ff3c"), "#ff7a1a", "cone", "hard_hat", "#ffd21f"
    ),
    "developer": Outfit(g.hoodie, "#2f3b46", "laptop", "headphones", "#16a085"),
    "carpenter": Outfit(lambda c: g.apron("#6f4322", c), "#8fae5d", "saw", "pencil", "#ffb400"),
    "manager": Outfit(lambda c: g.suit(c, "#ffffff", "#2e9e5b"), "#7f8a97", "briefcase"),
    "lawyer": Outfit(lambda c: g.robe(c, "#ffffff"), "#17181d", "scales"),
    "farmer": Outfit(lambda c: g.overall(c, "#d2352b"), "#3f6ea8", "pitchfork", "straw_hat", "#f0cf73"),
    "salesperson": Outfit(lambda c: g.collared(c, "#0c5f63"), "#12b5b0", "shopping_bag"),
    "physician": Outfit(g.scrubs, "#2a9d6e", "medical_bag", "surgical_cap", "#2a9d6e"),
    "guard": Outfit(lambda c: g.uniform(c, "#f2b632", "#0d1320"), "#22324f", "walkie_talkie", "peaked_cap", "#22324f"),
    "analyst": Outfit(lambda c: g.collared(c, "#ffffff") + g.suspenders("#c0392b"), "#dbe4f2", "chart"),
    "mechanic": Outfit(g.jumpsuit_in("#f08a24"), "#2456a6", "wrench", "baseball_cap", "#e03c31"),
    "sheriff": Outfit(lambda c: g.uniform(c, shade(c, -0.35), "#3b2a1a"), "#c2a35a", "star", "cowboy_hat", "#8a5a2b"),
    "CEO": Outfit(lambda c: g.suit(c, "#ffffff", "#d62839"), "#20262f", "trophy"),
    "doctor": Outfit(
        lambda c: g.coat(c, g.plain("#3f8fe0", "v_neck")) + g.stethoscope(),
        "#ffffff",
        "heart",
        "head_mirror",
        "#dfe8f0",
    ),
}
PLAIN_COLOURS = ("#3b82c4", "#c8443c", "#4c9a57", "#e0a63a", "#7a58b5", "#5d6875", "#2aa3a0", "#d9799c", "#e9e6df")
PLAIN_NECKS = ("crew_neck", "scoop_neck", "v_neck")


def plain_clothes(colour: int, kind: int) -> str:
    """What "person" wears: a pullover or hoodie in an everyday colour.

    Args:
        colour: index into ``PLAIN_COLOURS``.
        kind: 0 to 2 choose the neck, 3 is a hoodie.
    """
    fabric = PLAIN_COLOURS[colour]
    return g.hoodie(fabric) if kind == len(PLAIN_NECKS) else g.plain(fabric, PLAIN_NECKS[kind])
