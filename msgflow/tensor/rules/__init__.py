"""What each operation computes on arrays, and how its gradient flows back. `mt.add` and the rest rest on these.

Gradients are written with tensors, by their operators and methods, so that gradients have gradients.
"""
