"""The experiments: what is asked of attention, of models and of small societies, each one module with one question.

`sociogram grow` runs them. A module has a `run(*, quick, seed, **settings)` that returns a `Study` (tables, settings, what cannot
be shown) and a `draw(study)`. Experiments use only `import sociogram`; no instrument is defined here, and nothing here is used by
the other rooms but the command line.
"""

from __future__ import annotations

from sociogram.experiments.registry import names, open_experiment, question_of, settings_of
from sociogram.experiments.study import Study, Table

__all__ = ["Study", "Table", "names", "open_experiment", "question_of", "settings_of"]
