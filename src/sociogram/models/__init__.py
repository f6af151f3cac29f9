"""A model from a name, a folder or an object; its anatomy; the seam through which its attention is read.

Names of model families may appear in this room and nowhere else. Recordings, edits and pictures may not enter.
"""
