"""`python -m tests.zoo [name ...]`: the sweep."""

import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from .sweep import main

sys.exit(main(sys.argv[1:]))
