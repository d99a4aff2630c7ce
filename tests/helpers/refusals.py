"""What a user is told."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from model_utils.errors import InputError


def refusal(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The message with which a call is refused, one line."""
    with pytest.raises(InputError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)
