"""The page: what a recording looks like in a browser, as one file that needs nothing else.

`frame.py` is the boundary: one block of bytes with a stated layout (docs/frame.md), types on both sides. `contents.py` fills it
from a recording, by the public face alone; `page.py` puts it into a page. The page itself is TypeScript (`web/`), built into
`static/`. Nothing is computed here that a user of the public face could not compute.
"""
