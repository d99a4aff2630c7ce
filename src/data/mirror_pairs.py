"""Finds the class that a mirrored clip shows: from the names of the classes, or from the user's pairs.

    Swiping Left <-> Swiping Right    turnCW <-> turnCCW    go_l <-> go_r    nach_links <-> nach_rechts    向左 <-> 向右

A name without a direction is its own mirror image. A class whose name holds a direction, and whose mirror image is not
among the classes, is not mirrored. The user gives pairs in ``mirror_pairs`` or in a file beside the list of classes:

    wave to the door = wave to the window       a pair
    Bright = Bright                             its own mirror image
    point at the clock =                        must not be mirrored
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import numpy as np

from model_utils.errors import InputError
from model_utils.files import exists
from src.data.lists import read_lines
from src.data.names import MIRROR_PAIRS_FILE

LEFT, RIGHT, CLOCKWISE, COUNTERCLOCKWISE = "<left>", "<right>", "<clockwise>", "<counterclockwise>"
SWAPPED = {LEFT: RIGHT, RIGHT: LEFT, CLOCKWISE: COUNTERCLOCKWISE, COUNTERCLOCKWISE: CLOCKWISE}
# Found inside longer words too, such as swipeleft and Linksdrehung.
INSIDE = {
    **{"left": LEFT, "right": RIGHT, "links": LEFT, "rechts": RIGHT},
    **{"clockwise": CLOCKWISE, "counterclockwise": COUNTERCLOCKWISE, "anticlockwise": COUNTERCLOCKWISE},
    **{"左": LEFT, "右": RIGHT, "왼": LEFT, "오른": RIGHT},
}
WHOLE_WORDS = {
    **INSIDE,
    **{"l": LEFT, "r": RIGHT, "lt": LEFT, "rt": RIGHT, "lft": LEFT, "rgt": RIGHT},
    **{"cw": CLOCKWISE, "ccw": COUNTERCLOCKWISE, "acw": COUNTERCLOCKWISE},
    **{"linke": LEFT, "rechte": RIGHT, "linker": LEFT, "rechter": RIGHT},
    **{"gauche": LEFT, "droite": RIGHT, "sinistra": LEFT, "destra": RIGHT},
    **{"izquierda": LEFT, "derecha": RIGHT, "izquierdo": LEFT, "derecho": RIGHT},
    **{"esquerda": LEFT, "direita": RIGHT, "esquerdo": LEFT, "direito": RIGHT},
    **{"lewo": LEFT, "prawo": RIGHT, "vänster": LEFT, "höger": RIGHT, "venstre": LEFT, "højre": RIGHT, "høyre": RIGHT},
    **{"влево": LEFT, "вправо": RIGHT, "налево": LEFT, "направо": RIGHT, "sola": LEFT, "sağa": RIGHT},
}
_INSIDE = re.compile("(" + "|".join(sorted(INSIDE, key=len, reverse=True)) + ")")
_CAMEL = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][^\W\d_A-Z])")
_TWO_WORDS = re.compile(r"(counter|anti)[\s_-]+clockwise")
_WORDS = re.compile(r"[^\W\d_]+|\d+|[^\w\s-]")
# Single letters beside l and r that do not make an alphabet: up, down, forward, back, in, out.
_DIRECTION_LETTERS = set("lrudfbio")

Key = tuple[str, ...]


def mirrored_classes(categories: list[str], pairs: str = "") -> np.ndarray:
    """The class that a mirrored clip of each class shows: int32 [C].

    -1 marks a class that training must not mirror. In tests its score for the unmirrored crop replaces that for the
    mirrored one.

    Args:
        pairs: the user's, as ``given_pairs`` returns them; they override the names.

    Raises:
        InputError: if ``pairs`` names no class, or gives a class two mirror images.
    """
    keys = _keys(categories)
    mirrored = np.arange(len(categories), dtype=np.int32)
    for label, key in enumerate(keys):
        image = tuple(SWAPPED.get(part, part) for part in key)
        if image != key:
            found = [other for other, its_key in enumerate(keys) if its_key == image]
            mirrored[label] = found[0] if len(found) == 1 and keys.count(key) == 1 else -1
    for name, twin in _parse("mirror_pairs", pairs, categories):
        mirrored[categories.index(name)] = categories.index(twin) if twin else -1
    for label, other in enumerate(mirrored.tolist()):
        if other >= 0 and mirrored[other] != label:  # its image has got another one
            mirrored[label] = -1
    return mirrored


def given_pairs(root: str | Path, categories: list[str], pairs: str) -> str:
    """The user's pairs, one a line: from the file in ``root``, if there is one, and from ``pairs``.

    Raises:
        InputError: naming the line of the file, if it is malformed or names no class; if the two contradict.
    """
    path = Path(root) / MIRROR_PAIRS_FILE
    lines = pairs.split("\n") if pairs else []
    if exists(path):
        rows = [(place, line) for place, line in read_lines(path, "rows 'class = its mirror image'") if line]
        for place, line in rows:
            _parse(place, line, categories)
        lines = [line for _, line in rows if line not in lines] + lines
    merged = "\n".join(lines)
    _parse("mirror_pairs", merged, categories)
    return merged


def describe_mirroring(categories: list[str], mirrored: np.ndarray) -> list[str]:
    """Lines for the user: the classes that a mirror exchanges, and the classes that are not mirrored."""
    twins = [f"{categories[a]} = {categories[b]}" for a, b in enumerate(mirrored.tolist()) if a < b]
    lines = [f"in a mirror: {'; '.join(twins)}"] if twins else []
    off = [name for name, image in zip(categories, mirrored) if image < 0]
    if off:
        lines += [
            f"not mirrored: {', '.join(off)}: the name holds a direction, and its mirror image is not known; give"
            f" mirror_pairs 'NAME = CLASS IN THE MIRROR', or 'NAME = NAME' if it looks the same"
        ]
    return lines


def _keys(categories: list[str]) -> list[Key]:
    """The words of each name in lower case; words for directions are replaced."""
    keys = [_split(name) for name in categories]
    spelt: dict[Key, set[str]] = {}  # the single letters that stand in one place of otherwise equal names
    for key in keys:
        for place, part in enumerate(key):
            if len(part) == 1 and part.isalpha():
                spelt.setdefault((*key[:place], "", *key[place + 1 :]), set()).add(part)

    def direction(key: Key, place: int, part: str) -> str:
        letters = spelt.get((*key[:place], "", *key[place + 1 :]), set())
        is_alphabet = part in ("l", "r") and not letters <= _DIRECTION_LETTERS
        return part if is_alphabet else WHOLE_WORDS.get(part, part)

    return [tuple(direction(key, place, part) for place, part in enumerate(key)) for key in keys]


def _split(name: str) -> Key:
    """The words of a name in lower case; a direction inside a word is a word of its own."""
    text = _TWO_WORDS.sub(r"\1clockwise", _CAMEL.sub(" ", name).lower())
    words = (_INSIDE.split(word) if word not in WHOLE_WORDS else [word] for word in _WORDS.findall(text))
    return tuple(part for word in words for part in word if part)


def _parse(place: str, text: str, categories: list[str]) -> list[tuple[str, str]]:
    """The classes and their mirror images, both ways, "" for none; pairs stand in lines or between semicolons.

    Raises:
        InputError: for malformed text, an unknown class, and a class with two mirror images.
    """
    images: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.split("\n"))):
        whole = _pair(line, categories)
        for part in [line] if whole else filter(None, map(str.strip, line.split(";"))):
            pair = _pair(part, categories)
            if pair is None:
                raise InputError(f"{place}: {part!r}; expected {_expected(part, categories)}")
            for name, image in (pair, pair[::-1]):
                if name and images.setdefault(name, image) != image:
                    raise InputError(f"{place}: {name} has two mirror images, {images[name]!r} and {image!r}")
    return list(images.items())


def _pair(text: str, categories: list[str]) -> tuple[str, str] | None:
    """``A = B`` as its two classes; the names themselves may hold an equals sign."""
    for match in re.finditer("=", text):
        name, image = text[: match.start()].strip(), text[match.end() :].strip()
        if name in categories and image in ("", *categories):
            return name, image
    return None


def _expected(text: str, categories: list[str]) -> str:
    for name in text.split("="):
        nearest = difflib.get_close_matches(name.strip(), categories, n=1)
        if name.strip() not in categories and nearest:
            return f"'CLASS = CLASS'; did you mean {nearest[0]!r}?"
    return f"'CLASS = CLASS' with classes of {', '.join(categories)}"
