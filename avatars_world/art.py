"""The vector art of the ``python-avatars`` package as SVG fragments.

The art is python-avatars 1.4.1 (PyPI, MIT licence), which descends from Pablo Stanley's "Avataaars" (free for personal
and commercial use). The package fills a shape by painting a rectangle through a mask; here each such group becomes one
filled path, which is the same picture without a fringe of the colour below, and faster to rasterise. Drop shadows are
left out. Everything stays in the package's coordinates: 264 units wide, the face around (132, 112).
"""

from __future__ import annotations

import functools
import importlib
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

from hspace_exp.errors import UserError

_COLOUR_GROUPS = ("Hair-Color", "Facial-Hair-Color", "Fabric-Color", "Skin-Color")
_DROPPED_TAGS = ("title", "desc", "filter")
_COLOUR = "@colour@"
_URL = re.compile(r"url\(#(.+?)\)")

# The folder of each kind of part, and where the package puts it into the portrait.
_PLACES: dict[str, tuple[str, str]] = {
    "hair": ("top/hair", ""),
    "facial_hair": ("facial_hair", "translate(49 72)"),
    "glasses": ("accessories", "translate(62 85)"),
    "garment": ("clothes", "translate(0 170)"),
    "mouth": ("mouth", "translate(78 134)"),
    "nose": ("nose", "translate(104 122)"),
    "eyes": ("eyes", "translate(76 90)"),
    "eyebrows": ("eyebrows", "translate(76 82)"),
}


def extra(module: str) -> ModuleType:
    """Import a module of the extra ``avatars``.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"drawing avatars needs {module!r}, which is not installed; run: pip install 'hspace-exp[avatars]'"
        ) from error


def part(kind: str, name: str, colour: str = "#000000") -> str:
    """The SVG of one part of the package, at its place in the portrait.

    Args:
        kind: "hair", "facial_hair", "glasses", "garment", "mouth", "nose", "eyes" or "eyebrows".
        name: the part's file name without its ending.
        colour: of the hair or fabric.
    """
    folder, place = _PLACES[kind]
    drawing = _fragment(f"{folder}/{name}").replace(_COLOUR, colour)
    return f'<g transform="{place}">{drawing}</g>' if place else drawing


def body(skin: str) -> str:
    """Head, ears, neck and shoulders in one colour, with the shadow of the chin."""
    return _fragment("styles/transparent").replace(_COLOUR, skin)


def glasses(name: str, frame: str) -> str:
    """Glasses whose frame has the given colour."""
    return part("glasses", name).replace("#252C2F", frame).replace('fill="black"', f'fill="{frame}"')


@functools.cache
def _fragment(name: str) -> str:
    """One file of the package, simplified as this module says, with ``_COLOUR`` where its colour goes."""
    path = Path(str(extra("python_avatars").__file__)).parent / "avatar_parts" / f"{name}.svg"
    root = ElementTree.parse(path).getroot()
    _forget_namespaces(root)
    masks = {mask.get("id"): mask[0].get("xlink:href", "") for mask in root.iter("mask")}
    recoloured = {masks[_mask_of(node)] for node in root.iter() if _is_coloured(node) and node.get("mask")}
    for parent in list(root.iter()):
        for index, child in reversed(list(enumerate(parent))):
            covered = child.tag == "use" and parent.tag != "mask" and child.get("xlink:href") in recoloured
            if covered or child.tag in _DROPPED_TAGS:
                parent.remove(child)
            elif _is_coloured(child) and child.get("mask"):
                parent[index] = ElementTree.Element("use", {"xlink:href": masks[_mask_of(child)], "fill": _COLOUR})
            elif _is_coloured(child):
                child.set("fill", _COLOUR)
    _prefix_ids(root, re.sub(r"\W", "_", name))
    return "".join(ElementTree.tostring(child, encoding="unicode").strip() for child in root)


def _is_coloured(node: ElementTree.Element) -> bool:
    return node.get("id") in _COLOUR_GROUPS


def _mask_of(node: ElementTree.Element) -> str:
    return node.get("mask", "")[5:-1]


def _forget_namespaces(root: ElementTree.Element) -> None:
    """Write ``use`` and ``xlink:href`` as they stand in the file, so that fragments join in one document."""
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
        node.tail = node.text = None
        for key in list(node.attrib):
            value = node.attrib.pop(key)
            if not key.startswith("{"):
                node.set(key, value)
            elif key.endswith("}href"):
                node.set("xlink:href", value)


def _prefix_ids(root: ElementTree.Element, prefix: str) -> None:
    """Make the ids that are referred to unique among fragments; forget the other ids, masks and all filters."""
    for node in root.iter():
        node.attrib.pop("filter", None)
    painting = {match for node in root.iter() for value in node.attrib.values() for match in _URL.findall(value)}
    for parent in list(root.iter()):
        for mask in parent.findall("mask"):
            if mask.get("id") not in painting:
                parent.remove(mask)
    used = painting | {node.attrib["xlink:href"][1:] for node in root.iter() if "xlink:href" in node.attrib}
    for node in root.iter():
        name = node.attrib.pop("id", "")
        if name in used:
            node.set("id", f"{prefix}-{name}")
        for key, value in node.attrib.items():
            if key == "xlink:href":
                node.set(key, f"#{prefix}-{value[1:]}")
            elif "url(#" in value:
                node.set(key, _URL.sub(rf"url(#{prefix}-\1)", value))
