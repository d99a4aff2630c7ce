"""What the tests of evaluations share."""

from __future__ import annotations

import logging

import pytest

from model_utils.util import LOGGER_NAME


@pytest.fixture
def caplog_trn():
    """The warnings in the program's log, as they come."""
    messages = []

    class Kept(logging.Handler):
        def emit(self, record):
            assert "\n" not in record.getMessage()
            messages.append(record.getMessage())

    logger, handler = logging.getLogger(LOGGER_NAME), Kept(logging.WARNING)
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
