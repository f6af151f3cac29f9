"""A study made by hand, with every kind of column."""

from __future__ import annotations

import pandas as pd
import pytest

from sociogram.experiments import Study, Table


@pytest.fixture
def table() -> Table:
    columns = {
        "layers": [1, 2, 5],
        "start": ["zero", "random", "größer"],
        "difference": [1e-15, float("nan"), float("inf")],
        "holds": [True, False, True],
    }
    return Table("Numbers", pd.DataFrame(columns), ("layers", "start"), "a note")


@pytest.fixture
def study(table: Table) -> Study:
    return Study(
        name="in-context-descent",
        question="Is it?",
        tables=(table,),
        cannot_show=("That it always is.",),
        settings={"inputs": 10, "examples": [5, 10]},
        seeds=(3,),
        quick=False,
        machine={"processor": "one", "cores": "2 cores"},
        versions={"sociogram": "0.1.0"},
        seconds=1.5,
        made="2026-11-22T03:00:00+00:00",
        code="ab" * 32,
    )
