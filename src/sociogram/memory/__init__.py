"""Stored representations to attend to: passages with their keys and values in a folder, found by meaning, heard like any source.

And texts pressed into few vectors (`densify`), which need no store: what they are is a past.

What runs a model or changes a pass is elsewhere (`watch`, `steering`); here is what is kept, and how it is found again.
"""
