"""Small mathematics and words shared by every room: errors, merges of attention, measures of rank.

Nothing here knows a model, a recording or a file; nothing here imports from another room.
"""
