"""A recording as weighted directed graphs: statistics, embeddings, communities, comparisons, null models, causal tests.

Here graphs are measured. How a run is recorded, or edited, is asked of `watch` and `steering`; pictures are drawn in `plot`.
"""
