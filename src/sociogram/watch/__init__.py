"""One run, watched: the recording, its account, and everything that is read off it (edges, moves, worksheets).

Nothing here changes what a model does; edits live in `steering`, statistics over many edges in `graphs`.
"""
