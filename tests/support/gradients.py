"""The gradient of a tensor that must have one."""

from torch import Tensor


def gradient(tensor: Tensor) -> Tensor:
    """The gradient of a tensor."""
    assert tensor.grad is not None
    return tensor.grad
