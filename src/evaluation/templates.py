"""The Jinja environment of all pages: everything is escaped, and a name that a template misspells is an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


def page_environment() -> jinja2.Environment:
    """Loads the templates of this folder."""
    # Imported here because a page is written once, at the end of an evaluation.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
