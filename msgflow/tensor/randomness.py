"""Random numbers. All come from one generator of numpy, so that they are the same on every device."""

import numpy as np


class _Source:
    """The process's generator; unpredictable until a seed is set."""

    generator = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Make all later random numbers of this process those of a seed."""
    _Source.generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """Where all random numbers of tensors come from."""
    return _Source.generator
