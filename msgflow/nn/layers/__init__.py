"""Layers of tensors: ordinary Modules, with the names and shapes of PyTorch's. Their public names are in `msgflow.nn`.

Nothing is imported here, so that `import msgflow.nn` loads no numpy before the first layer is asked for.
"""
