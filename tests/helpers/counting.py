"""What is asked of a device, counted: operations, copies back, and the shapes that a network gets."""

import threading
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# What asks the device for a size or a number, by the names that torch has for it.
WAITING = {
    "nonzero", "nonzero_numpy", "_local_scalar_dense", "item", "masked_select", "is_nonzero", "index by mask"
}  # fmt: skip


class Calls(list):
    """Shapes of the inputs of a network's forwards, their threads, and how the inputs lay in memory."""

    def __init__(self, net):
        self.threads, self.by_pixel, self.handle = set(), set(), net.register_forward_pre_hook(self._note)

    def _note(self, _, inputs):
        self.append(tuple(inputs[0].shape))
        self.by_pixel.add(inputs[0].is_contiguous(memory_format=torch.channels_last))
        self.threads.add(threading.current_thread())


class Operations(TorchDispatchMode):
    """Names of all operations, with how often each came."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name == "index" and any(part is not None and part.dtype == torch.bool for part in args[1]):
            name = "index by mask"
        self.counts[name] = self.counts.get(name, 0) + 1
        return function(*args, **(kwargs or {}))


@contextmanager
def noting(net):
    calls = Calls(net)
    try:
        yield calls
    finally:
        calls.handle.remove()


@contextmanager
def copies_back(monkeypatch):
    """Shapes of the tensors that are asked to the CPU."""
    asked, plain = [], torch.Tensor.cpu
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "cpu", lambda tensor: asked.append(tensor.shape) or plain(tensor))
        yield asked
