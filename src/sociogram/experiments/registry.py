"""Which experiments there are. Listing them imports none; each is imported when it is first asked for."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import Any, ClassVar, Protocol, cast

import sociogram as sg
from sociogram.experiments.study import Study

QUESTIONS = {
    "communication": "Which ways of talking learn recall, copying, senses, at equal size or state, and where do they break?",
    "in-context-descent": "When does attention over examples in the prompt do what gradient descent on them would do?",
    "collective-motion": "Do tokens that attend to each other gather, how fast, and what in a layer holds them apart?",
    "objective": "What is lost when the next token is predicted as the nearest of the embeddings instead of by cross-entropy?",
    "initialisation": "Which first weights keep mean 0 and variance 1 in each kind of layer, and where does a model drift?",
    "resolution": "In which layers does a pronoun take over its person, and an ambiguous word its sense, and by which messages?",
    "depth-routing": "Which tokens does a router give more computation, and what is that worth at equal compute?",
    "pause": "Do pause tokens help, and more than the same computation spent on layers or width?",
    "learned-attention": "Can a feed-forward net learn what an attention layer does, and stand in its place?",
    "emergence": "When do heads that continue a repetition come up in training, and is the accuracy in the context theirs?",
    "pooling": "Is the mean over tokens a better vector of a text than its first token, or only where training made it so?",
    "dictionary": "Does a dictionary given beside the prompt, without attention to it, give better answers for less computation?",
    "generality": "Does what an experiment finds hold when its seed or a setting is another?",
}
"""What each asks, by its name; the module of `a-name` is `a_name`."""


class Settings(Protocol):
    """Settings of an experiment: a frozen dataclass whose fields have plain values (numbers, texts, tuples of them)."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Experiment(Protocol):
    """What a module of this room offers."""

    FULL: Settings
    QUICK: Settings

    def run(self, *, quick: bool, seed: int = 0, **settings: Any) -> Study:
        """Do it; `quick` takes the settings `QUICK`, otherwise `FULL`; `settings` replace single ones."""

    def draw(self, study: Study) -> Any:
        """A matplotlib figure of the study's tables."""


def names() -> list[str]:
    """Every experiment's name."""
    return list(QUESTIONS)


def question_of(name: str) -> str:
    """What the experiment asks.

    Raises:
        InputError: no experiment of this name.
    """
    if name not in QUESTIONS:
        raise sg.InputError(f"no experiment {name!r}: there are {', '.join(QUESTIONS)}")
    return QUESTIONS[name]


def module_of(name: str) -> str:
    """Where the experiment is.

    Raises:
        InputError: no experiment of this name.
    """
    question_of(name)
    return f"sociogram.experiments.{name.replace('-', '_')}"


def open_experiment(name: str) -> Experiment:
    """The experiment's module.

    Raises:
        InputError: no experiment of this name.
    """
    return cast("Experiment", import_module(module_of(name)))


def settings_of(name: str, *, quick: bool = False) -> dict[str, Any]:
    """The settings that the experiment has, with their values in a full (or quick) run.

    Raises:
        InputError: no experiment of this name.
    """
    experiment = open_experiment(name)
    chosen = experiment.QUICK if quick else experiment.FULL
    return {field.name: getattr(chosen, field.name) for field in fields(chosen)}
