"""The edits that `sg.steer` takes, by the names they print and store under.

Edges: `cut`, `set_weight`, `scale_edges`, `scale_odds`, `force`. Heads: `mute`, `scale_head`, `mean_ablate`, `freeze`, `swap`,
`graft`. Who may talk to whom: `window`, `strided`, `random`, `blocks`, `clusters`, `bottleneck`, `isolate`. Another sequence:
`attend`, `add_head`, `blend`, with a `Source`. The residual stream: `add`, `project_out`, `patch`, `cut_skip`, `skip_layer` (at
`layer=` and `query=`). All others take `layer=`, `head=`, most of them `query=` (readers), and the first five `key=` (senders),
by number, slice, text, condition, or a list of these; what is left out means all. `parse` reads the text form, `to_json` and
`from_json` store lists. A rule of your own is a subclass of `Topology` with a method `keeps`.
"""

from __future__ import annotations

from sociogram.steering.attend import AddHead as add_head
from sociogram.steering.attend import Attend as attend
from sociogram.steering.base import Edit
from sociogram.steering.blend import Blend as blend
from sociogram.steering.clusters import Clusters as clusters
from sociogram.steering.edits import Cut as cut
from sociogram.steering.edits import Force as force
from sociogram.steering.edits import Mute as mute
from sociogram.steering.edits import ScaleEdges as scale_edges
from sociogram.steering.edits import ScaleHead as scale_head
from sociogram.steering.edits import SetWeight as set_weight
from sociogram.steering.graft import Graft as graft
from sociogram.steering.heads import Freeze as freeze
from sociogram.steering.heads import Swap as swap
from sociogram.steering.means import MeanAblate as mean_ablate
from sociogram.steering.odds import ScaleOdds as scale_odds
from sociogram.steering.output import KnnLM as knn_lm
from sociogram.steering.residual import Add as add
from sociogram.steering.residual import CutSkip as cut_skip
from sociogram.steering.residual import Patch as patch
from sociogram.steering.residual import ProjectOut as project_out
from sociogram.steering.residual import SkipLayer as skip_layer
from sociogram.steering.source import Source
from sociogram.steering.topology import Blocks as blocks
from sociogram.steering.topology import Bottleneck as bottleneck
from sociogram.steering.topology import Isolate as isolate
from sociogram.steering.topology import Random as random
from sociogram.steering.topology import Strided as strided
from sociogram.steering.topology import Topology
from sociogram.steering.topology import Window as window
from sociogram.steering.written import from_json, parse, to_json

__all__ = [
    "Edit",
    "Source",
    "Topology",
    "add",
    "add_head",
    "attend",
    "blend",
    "blocks",
    "bottleneck",
    "clusters",
    "cut",
    "cut_skip",
    "force",
    "freeze",
    "from_json",
    "graft",
    "isolate",
    "knn_lm",
    "mean_ablate",
    "mute",
    "parse",
    "patch",
    "project_out",
    "random",
    "scale_edges",
    "scale_head",
    "scale_odds",
    "set_weight",
    "skip_layer",
    "strided",
    "swap",
    "to_json",
    "window",
]
