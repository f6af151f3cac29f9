"""Every structural class within two minutes; the whole zoo by `make zoo`."""

from __future__ import annotations

import json
import re

import pytest
import torch

from tests import zoo
from tests.zoo import classes, steering, streaming
from tests.zoo.coverage import DATA, Row, measure, sweep

REASONS = [
    "cannot be moved to other positions",
    "is an encoder-decoder",
    "takes (pixel_values|input_features)",
    "names no start token",
    "a gate or a norm stands between",
    "has no single self-attention",
    "adds a bias of its own",
    "has (no|.) branch(es)? that (is|are) an MLP",
    "pass a soft cap",
]
"""Why an edit cannot act in a family."""
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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_structural_class_is_steered(name: str) -> None:
    """Each edit lands or is refused with words; identities change nothing, changes do, and accounts close."""
    row = steering.measure(name)
    assert row is not None
    assert not row.wrong
    assert len(row.landed) >= 29
    for reason in row.refused.values():
        assert any(re.search(known, reason) for known in REASONS), reason


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_structural_class_is_streamed(name: str) -> None:
    """In blocks, in chunks and while it writes: the numbers of the dense recording."""
    row = streaming.measure(name)
    assert row is not None
    assert not row.wrong
    assert "stream" in row.right or "several attention calls" in row.refused["stream"]


def test_the_comparison_sees_what_is_no_number() -> None:
    plain, hollow, endless = torch.tensor([1.0, 2.0]), torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.inf])
    assert streaming._far("n", plain, plain) == streaming._far("n", hollow, hollow) == streaming._far("n", endless, endless) == 0
    assert streaming._far("n", torch.tensor([1.0, 2.5]), plain) == 0.25
    for one, other in ((hollow, plain), (plain, hollow), (hollow, endless), (endless, -endless)):
        with pytest.raises(AssertionError, match="no numbers in one recording only"):
            streaming._far("n", one, other)


@pytest.mark.zoo
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_the_whole_zoo_is_streamed() -> None:
    rows = streaming.sweep(zoo.entries())
    assert len([row for row in rows if "stream" in row.right]) >= 300
    assert {row.entry: row.wrong for row in rows if row.wrong} == {}


@pytest.mark.zoo
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
def test_the_whole_zoo_is_steered() -> None:
    """No edit does nothing where it claims to have landed, none breaks an account, in any family."""
    rows = steering.sweep(zoo.entries())
    assert len(rows) >= 300
    assert {row.entry: row.wrong for row in rows if row.wrong} == {}


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
