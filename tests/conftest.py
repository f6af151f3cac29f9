"""Shapes in signatures are executed: the modules that carry them are imported through jaxtyping and beartype."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

SHAPED = [
    "grow.answers",
    "grow.attending",
    "grow.evidence",
    "grow.hearing",
    "grow.layers",
    "grow.passing",
    "grow.routing",
    "grow.senses",
    "grow.sequences",
    "grow.society",
    "grow.tasks",
    "grow.text",
    "experiments.ceilings",
    "experiments.dictionary_adapters",
    "experiments.dictionary_bases",
    "experiments.dictionary_entries",
    "experiments.dictionary_prompt",
    "experiments.dictionary_texts",
    "experiments.induction",
    "experiments.linear_attention",
    "experiments.regression",
    "experiments.distilling",
    "experiments.routed_tokens",
    "experiments.routers",
    "experiments.routing_cost",
    "experiments.scored",
    "experiments.sphere",
    "experiments.vectors",
    "graphs.agreement",
    "graphs.block_fit",
    "graphs.blocks",
    "graphs.change",
    "graphs.common",
    "graphs.distances",
    "graphs.information",
    "graphs.leiden",
    "graphs.parts",
    "graphs.quotient",
    "graphs.central",
    "graphs.communities",
    "graphs.layered",
    "graphs.linear",
    "graphs.measures",
    "graphs.nulls",
    "graphs.source",
    "graphs.spectrum",
    "graphs.steps",
    "graphs.testing",
    "core.medoids",
    "core.moment",
    "memory.collection",
    "memory.dense",
    "memory.distil",
    "memory.quality",
    "memory.shift",
    "memory.spans",
    "memory.together",
    "memory.index",
    "memory.told",
    "memory.letters",
    "memory.meaning",
    "memory.passages",
    "memory.recall",
    "memory.cluster",
    "memory.finding",
    "memory.shelf",
    "memory.store",
    "models.outside",
    "core.linear",
    "graphs.decompose",
    "graphs.joint",
    "graphs.latent_test",
    "graphs.matching",
    "graphs.matrixfree",
    "graphs.place",
    "graphs.positions",
    "graphs.spectrum",
    "models.attending",
    "models.attention",
    "models.straight",
    "models.frozen",
    "models.readout",
    "models.rotary",
    "models.turning",
    "models.run",
    "models.branch",
    "models.verify",
    "models.head",
    "steering.arguments",
    "steering.clock",
    "steering.listening",
    "steering.chosen",
    "steering.source",
    "steering.output",
    "steering.patched",
    "steering.stream",
    "steering.inertia",
    "steering.past",
    "steering.revise",
    "models.rows",
    "watch.account",
    "watch.norms",
    "watch.rowwise",
    "watch.scan",
    "watch.states",
    "watch.stream",
    "watch.streamed",
    "watch.told",
    "watch.interference",
    "watch.toward",
    "watch.axes",
    "watch.crowd",
    "watch.near",
    "watch.particles",
    "watch.projection",
    "watch.shape",
    "watch.views",
    "watch.walks",
]
install_import_hook([f"sociogram.{name}" for name in SHAPED], "beartype.beartype")

import pytest
import torch

import sociogram as sg

torch.set_num_threads(1)  # tiny models lose more to waiting threads than they win


@pytest.fixture(scope="session")
def smollm() -> sg.Model:
    """The default model: a real decoder with grouped queries."""
    return sg.load("smollm2-135m")


@pytest.fixture(scope="session")
def minilm() -> sg.Model:
    """A real encoder with norms after the sums."""
    return sg.load("minilm-l6")


@pytest.fixture(scope="session")
def paris(smollm: sg.Model) -> sg.Recording:
    """A prompt whose answer is known."""
    return sg.record(smollm, "The Eiffel Tower is located in the city of", keep="qkv")
