"""Edits of a run while it happens, inside the model's own forward pass, with a receipt that proves they landed.

An edit (`edits.py`, `topology.py`) is a frozen value that says what shall be different and where; `compiled.py` resolves its
addresses against a prompt; `editor.py` acts at the seam; `steer.py` holds a steered model and its runs; `receipt.py` counts.
Nothing is shown or drawn here, and no model's weights are touched.
"""
