"""The HTML pages: everything in them is escaped, and a name that a template misspells is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src.evaluation.tables import text_bytes


def render(template: str, protocol: dict[str, Any], **content: Any) -> bytes:
    """A page as a UTF-8 file, from a template of this folder; ``protocol`` becomes pairs of texts."""
    # Imported here because a page is written once, at the end of an evaluation.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    rows = [(key.replace("_", " "), _shown(value)) for key, value in protocol.items()]
    return text_bytes(environment.get_template(template).render(protocol=rows, **content))


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _shown(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
