"""A GPU that is not there: the engines executed on tensors without content, and what they would do noted.

PyTorch's slot for other backends becomes a device `gpu`, and FakeTensorMode gives tensors that say they lie
there and refuses to compute over two devices. A dispatch mode notes copies between host and device, values
that the host reads, and accesses to one memory by two streams that nothing orders, by the logic of PyTorch's
own sanitizer. What the graph engine uses of torch.cuda is pretended too; a graph is the list of its kernels.

None of that can be taken back: `in_a_process_of_its_own` is how it is used. Numbers are not computed.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.cuda._sanitizer import FACTORY_FUNCTION_REGEX, EventHandler, zip_arguments
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bsr.data.images import Split
from bsr.engines import graph
from bsr.machine import device as machine
from bsr.model import RegressionCNN
from bsr.run import Execution, Run
from bsr.training.loop import Learner, initial_model

STEPS_PER_GRAPH: Final = 2
RUN: Final = Run(
    task="mean", batch_size=16, seed=3, learning_rate=0.0015, train_images=16 * 5 + 6, test_images=64
)
"""Two graphs of two steps, and one of the other full batch and the rest."""
aten: Final = torch.ops.aten
READS: Final[dict[Any, object]] = {
    aten._local_scalar_dense.default: 0.5,
    aten.is_nonzero.default: True,
    aten.equal.default: True,
}
"""Operators by which the host reads a value, and what it is told."""
WITHOUT_SHAPES: Final = {aten._fused_sgd_.default, aten._fused_sgd_.tensor_lr, aten._fused_adam_.tensor_lr}
"""Operators that FakeTensorMode cannot execute; they return nothing, and their tensors must lie together."""


@dataclass
class Noted:
    """What was done in a stretch of work: each host read, upload, download and race, with its place."""

    reads: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    races: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {name: len(places) for name, places in vars(self).items()}


class Gpu(TorchDispatchMode):
    """The device: its streams, what is captured, and the notes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.noted = Noted()
        self.streams: list[Stream] = []
        self.current = [Stream(self)]
        self.tape: list[tuple[set[int], set[int], str]] | None = None
        """Of the graph that is being captured."""
        self.handler = EventHandler()
        self._kept: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        place = f"{func._schema.name.removeprefix('aten::')} in {_line()}"
        if func in READS:
            if self._memory((args, kwargs)):
                self._host_waits(place)
                self.noted.reads.append(place)
            return READS[func]
        if func in WITHOUT_SHAPES:
            assert len(_devices((args, kwargs))) == 1, f"{place}: tensors on several devices"
            result = None
        else:
            result = func(*args, **kwargs)
        self._launch(*self._accesses(func, args, kwargs, result), place)
        self._note_copy(func, args, result, place)
        return result

    def _accesses(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> tuple[set[int], set[int]]:
        """The memory that a kernel reads, and that it writes."""
        read: set[int] = set()
        written: set[int] = set()
        view = _is_view(func) and _devices(args) == _devices(result)
        for argument, value in zip_arguments(func._schema, args, kwargs):
            if argument.alias_info is not None and argument.alias_info.is_write:
                written |= self._memory(value)
            elif not (view or _only_shapes(func)):
                read |= self._memory(value)
        return read, written if view else written | (self._memory(result) - read)

    def _memory(self, tree: Any) -> set[int]:
        """The memory on the device that tensors lie in; it is kept, so that none is met twice."""
        storages = [tensor.untyped_storage() for tensor in _tensors(tree) if tensor.device.type == "gpu"]
        self._kept |= {storage._cdata: storage for storage in storages}
        return {storage._cdata for storage in storages}

    def _launch(self, read: set[int], written: set[int], place: str) -> None:
        if not read | written or place.startswith("prim::"):
            return
        if self.tape is not None:
            self.tape.append((read, written, place))
            return
        aliases: dict[int, list[str]] = {memory: [] for memory in read | written}
        stream = self.current[-1].cuda_stream
        races = self.handler._handle_kernel_launch(stream, read - written, written, set(), place, aliases)
        self.noted.races += [f"{place}, stream {stream}" for _ in races]

    def _note_copy(self, func: Any, args: tuple[Any, ...], result: Any, place: str) -> None:
        source, target = _devices(args[1:] if func is aten.copy_.default else args), _devices(result)
        if len(source) == len(target) == 1 and source != target and not _only_shapes(func):
            self._host_waits(place)
            (self.noted.uploads if target == {"gpu"} else self.noted.downloads).append(place)

    def _host_waits(self, place: str) -> None:
        assert self.tape is None, f"{place}: the host waits while it captures"
        self.handler._handle_stream_synchronization(self.current[-1].cuda_stream)

    def replay(self, tape: list[tuple[set[int], set[int], str]]) -> None:
        """Launch what was captured, on the stream of now."""
        for kernel in tape:
            self._launch(*kernel)

    def synchronise(self, _device: object = None) -> None:
        """The host waits for all streams."""
        self.handler._handle_device_synchronization()

    def taken(self) -> Noted:
        """The notes since the last time."""
        noted, self.noted = self.noted, Noted()
        return noted


class Stream:
    """In the order of a stream's own kernels; others are waited for."""

    device = property(lambda _self: torch.device("gpu:0"))

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.cuda_stream = len(gpu.streams)
        gpu.streams.append(self)

    def wait_stream(self, other: Stream) -> None:
        """What follows here comes after what was asked of the other."""
        handler, event = self._gpu.handler, object()
        handler._handle_event_record(id(event), other.cuda_stream)
        handler._handle_event_wait(id(event), self.cuda_stream)

    def synchronize(self) -> None:
        """The host waits for this stream."""
        assert self._gpu.tape is None, "the host waits while it captures"
        self._gpu.handler._handle_stream_synchronization(self.cuda_stream)


def _cuda(gpu: Gpu) -> dict[str, object]:
    """What the graph engine uses of torch.cuda."""

    class CUDAGraph:
        tape: list[tuple[set[int], set[int], str]]

        def replay(self) -> None:
            gpu.replay(self.tape)

    @contextlib.contextmanager
    def on(stream: Stream) -> Iterator[None]:
        gpu.current.append(stream)
        yield
        gpu.current.pop()

    @contextlib.contextmanager
    def capturing(captured: CUDAGraph, pool: object, stream: Stream) -> Iterator[None]:
        gpu.synchronise()
        captured.tape = gpu.tape = []
        with on(stream):
            yield
        gpu.tape = None

    event = SimpleNamespace(record=lambda: None, elapsed_time=lambda _other: 1.0)
    return {
        "Stream": lambda _device: Stream(gpu),
        "current_stream": lambda _device: gpu.current[-1],
        "stream": on,
        "CUDAGraph": CUDAGraph,
        "graph": capturing,
        "graph_pool_handle": lambda: (0, 1),
        "Event": lambda **_how: event,
    }


class _Backend(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def current_stream(self, _device: object = None) -> None:
        return None

    def synchronize(self, _device: object = None) -> None:
        return None


@cache
def _register() -> torch.library.Library:
    """Once per process, and kept."""
    backend_registration._setup_privateuseone_for_python_backend(rename="gpu", backend_module=_Backend())
    FakeTensorMode.avoid_device_init = property(lambda _self: True)  # type: ignore[method-assign, assignment]
    autocast = torch.library.Library("_", "IMPL")
    autocast.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")  # what it casts is not checked
    return autocast


@contextlib.contextmanager
def pretended() -> Iterator[Gpu]:
    """The device, until the end of the process; the engines use it meanwhile."""
    _register()
    gpu = Gpu()
    with contextlib.ExitStack() as stack:
        for name, value in _cuda(gpu).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        graph._stream_of.cache_clear()
        stack.enter_context(mock.patch.object(machine, "synchronise", gpu.synchronise))
        stack.enter_context(mock.patch.object(RegressionCNN, "to", _moved))
        stack.enter_context(mock.patch.object(graph, "STEPS_PER_GRAPH", STEPS_PER_GRAPH))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(gpu)
        yield gpu


def _moved(
    model: RegressionCNN,
    device: str | torch.device | None = None,
    memory_format: torch.memory_format = torch.preserve_format,
) -> RegressionCNN:
    """Module.to cannot put tensors without content in the place of real ones."""
    for module in model.modules():
        for name, value in list(module._parameters.items()):
            assert value is not None
            kept = memory_format if value.ndim == 4 else torch.preserve_format
            module._parameters[name] = nn.Parameter(
                torch.empty_like(value, device=device, memory_format=kept)
            )
    return model


def trained(kind: type[Learner], changes: dict[str, Any]) -> dict[str, Noted]:
    """Two epochs of an engine, and what was done in its set-up, in each epoch and in each evaluation."""
    run = replace(RUN, **changes)
    pixels, labels = torch.zeros(run.train_images, 28, 28, dtype=torch.uint8), torch.zeros(run.train_images)
    split = Split(pixels, labels, pixels[: run.test_images], labels[: run.test_images], "made", run.task)
    execution = Execution()
    object.__setattr__(execution, "device", "gpu:0")  # refused, as it should be
    noted = {}
    with pretended() as gpu:
        worker = kind(initial_model(run.seed)[0], run, split, execution)
        noted["set-up"] = gpu.taken()
        tested = split.test_images.to(execution.device), split.test_labels
        gpu.taken()
        for epoch in (1, 2):
            worker.train_epoch(torch.arange(run.train_images), math.inf)
            noted[f"epoch {epoch}"] = gpu.taken()
            worker.evaluate(*tested)
            noted[f"evaluation {epoch}"] = gpu.taken()
    return noted


class PretendedGpuError(Exception):
    """What was raised on the pretended device; the message says what."""


def in_a_process_of_its_own(kind: type[Learner], *changes: dict[str, Any]) -> list[dict[str, Noted]]:
    """`trained` for each of some changes. Raises PretendedGpuError."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch._dynamo", "sympy", "bsr.engines.graph"]
    )  # the slow imports, once for all
    with context.Pool(1) as pool:
        found = pool.apply(_answered, (kind, changes))
    if isinstance(found, str):
        raise PretendedGpuError(found)
    return found


def _answered(kind: type[Learner], changes: Iterable[dict[str, Any]]) -> list[dict[str, Noted]] | str:
    """What it gives, or what it raised: not every error can be pickled."""
    try:
        return [trained(kind, each) for each in changes]
    except Exception as error:  # noqa: BLE001 - handed on, whatever it is
        return f"{type(error).__name__}: {error}"


def _is_view(func: Any) -> bool:
    return any(each.alias_info and not each.alias_info.is_write for each in func._schema.returns)


def _only_shapes(func: Any) -> bool:
    """Whether it looks at no value of its tensors."""
    return bool(FACTORY_FUNCTION_REGEX.match(func._schema.name.removeprefix("aten::")))


def _line() -> str:
    """The line of the suite that called."""
    frame = inspect.currentframe()
    while frame is not None and "/bsr/" not in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is None:
        return "the backward pass"
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


def _tensors(tree: Any) -> list[Tensor]:
    return [each for each in tree_leaves(tree) if isinstance(each, Tensor)]


def _devices(tree: Any) -> set[str]:
    return {tensor.device.type for tensor in _tensors(tree)}
