"""Every structural class within two minutes; the whole zoo by `make zoo`."""

from __future__ import annotations

import json

import pytest

from tests import zoo
from tests.zoo import classes
from tests.zoo.coverage import DATA, Row, measure, sweep

NAMES = sorted({name for names in classes.CLASSES.values() for name in names})


def check(row: Row) -> None:
    assert row.relative_error is not None
    assert row.relative_error <= 1e-4
    assert row.drift is not None
    assert row.drift <= 1e-5
    assert row.unwatched is not None
    assert row.unwatched <= 1e-5
    assert row.opaque_share is not None
    assert row.closed_layers + row.opaque_layers == row.layers
    assert (row.opaque_share > 0) == (row.opaque_layers > 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_structural_class(name: str) -> None:
    row = measure(name)
    assert row.status == "closed", row.reason
    check(row)


@pytest.mark.zoo
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_the_whole_zoo() -> None:
    """No entry that was closed when docs/coverage.md was made has been lost, and there are at least 300."""
    before = {row["entry"]: row["status"] for row in json.loads(DATA.read_text())["entries"]}
    rows = sweep(zoo.entries())
    closed = {row.entry: row for row in rows if row.status == "closed"}
    for row in closed.values():
        check(row)
    assert len(closed) >= 300
    assert {name for name, status in before.items() if status == "closed"} <= set(closed)
