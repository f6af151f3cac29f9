"""Recordings that the graphs' tests share."""

from __future__ import annotations

import pytest

import sociogram as sg

ALICE = "When Mary and John went to the store, John gave a bag of flour to"


@pytest.fixture(scope="session")
def alice(smollm: sg.Model) -> sg.Recording:
    """A real recording of some twenty tokens."""
    return sg.record(smollm, ALICE)


@pytest.fixture(scope="session")
def encoded(minilm: sg.Model) -> sg.Recording:
    """A real encoder's recording, where tokens hear both ways."""
    return sg.record(minilm, "The nail held the plank of the leaking ship.")
