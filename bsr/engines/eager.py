"""The eager engine: plain PyTorch, the reference that every faster engine is checked against."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from bsr.data.images import Split
from bsr.data.pieces import pieces
from bsr.machine import device as machine
from bsr.model import MODELS, check_predictions
from bsr.run import Execution, Run
from bsr.tasks import batch_of
from bsr.training.log import Evaluation, evaluation
from bsr.training.loop import LOSSES, TimeLimitReached, make_optimiser
from bsr.training.warm_up import undone

PIECE: Final = 128
"""Images that a CPU takes at once: of 32, 64, 128, 256 and all, the fastest on one core and on two."""
EVALUATED: Final = 500
"""Images evaluated at once, fewer where they are large."""


DROPOUTS: Final = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
TRIED: Final = 4
"""Images on which a network of a user's own is tried."""


def takes_channels_last(model: nn.Module, images: Tensor) -> bool:
    """Whether a network on a CPU goes forward and back in channels_last; it is left as it was."""
    with contextlib.suppress(Exception), torch.random.fork_rng(devices=[]):
        tried = copy.deepcopy(model).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        tried(images.to(torch.float32, copy=True)).sum().backward()
        return True
    return False  # what is wrong with it otherwise is said where it trains


def sees_the_batch(model: nn.Module, images: Tensor) -> bool:
    """Whether an image's prediction may depend on the others of its batch, or its pieces leave another trace.

    Dropout does neither: it is switched off where it is a module. What draws otherwise is taken to.
    """
    if next(model.buffers(), None) is not None:
        return True
    with contextlib.suppress(Exception), torch.random.fork_rng(devices=[]), torch.no_grad():
        tried = copy.deepcopy(model).train()
        for module in tried.modules():
            if isinstance(module, DROPOUTS):
                module.eval()
        together, *alone = (tried(each.to(torch.float32, copy=True)) for each in (images, *images.split(1)))
        near = 1e-4 * float(together.abs().max())
        return not torch.allclose(together, torch.cat(alone), rtol=1e-4, atol=near)
    return True


class EagerLearner:
    """Plain PyTorch, the fastest loop it gives: images on the device once, a batch is an index.

    Any device. On two AVX-512 cores channels_last is 1.2, 1.5, 1.5 and 1.8 times as fast as the contiguous
    format at batch sizes 16, 64, 256 and 1024, and the fused Adam at most a fifth faster than foreach. A
    large batch goes through in pieces that stay in the CPU's caches, their gradients added up: 1.1 and 1.5
    times as fast at batch sizes 256 and 1024. A user's own network has both on a CPU where it allows them:
    channels_last where its forward takes it, which a `view` may not, pieces where no module sees the batch,
    as batch normalisation does. Within a few percent, and so not worth a line: float images, batches
    converted ahead, one flat parameter, in-place ReLUs, losses in a list.
    """

    honours = (
        "steps",
        "schedule",
        "evaluate_on",
        "order_seed",
        "beta1",
        "beta2",
        "eps",
        "model",
        "warmup",
        "decay",
        "first_evaluation",
    )

    def __init__(self, model: nn.Module, run: Run, split: Split, execution: Execution) -> None:
        device = torch.device(execution.device)
        self.run = run
        self.split = split
        self.taken = 0
        self.device = device
        self.device_seconds: list[float] = []
        self.images = batch_of(split.train_images).to(device)
        self.labels = split.train_labels.to(device)
        self.model = model.to(device)
        own, on_cpu = run.model not in MODELS, device.type == "cpu"
        if not own or (on_cpu and takes_channels_last(self.model, self.images[:TRIED])):
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = make_optimiser(run, self.model, fused=True)
        self.loss = LOSSES[run.loss]
        whole = not on_cpu or (own and sees_the_batch(self.model, self.images[:TRIED]))
        self.piece = run.batch_size if whole else PIECE
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bfloat16")
        self.warmup_seconds = 0.0 if device.type == "cpu" else self._warm_up()

    def _warm_up(self) -> float:
        """Seconds of a full batch, the rest of an epoch and an evaluation, undone.

        The first of each shape loads, plans and allocates, which is no part of an epoch.
        """
        size, images, endless = self.run.batch_size, self.run.train_images, bool(self.run.steps)
        full, rest = size if endless or size <= images else 0, 0 if endless else images % size
        order = torch.arange(full + rest) % images
        wait = partial(machine.synchronise, str(self.device))
        wait()
        began = time.perf_counter()
        with undone(self.model, self.optimiser, wait):
            self._train_epoch(order, math.inf)
            self.evaluate(self.split.test_images, self.split.test_labels)
        self.taken = 0
        wait()
        return time.perf_counter() - began

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        """See Learner."""
        with machine.timed_by_events(self.device, self.device_seconds):
            return self._train_epoch(order, deadline)

    def _train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        batches = order.to(self.device).split(self.run.batch_size)
        losses = torch.zeros(len(batches), device=self.device)
        rates = self.run.rates(self.taken, len(batches))
        self.taken += len(batches)
        self.model.train()
        for step, (batch, rate) in enumerate(zip(batches, rates, strict=True)):
            if time.monotonic() > deadline:
                raise TimeLimitReached
            self.optimiser.param_groups[0]["lr"] = rate
            self.optimiser.zero_grad(set_to_none=True)
            for piece in batch.split(self.piece):
                share = torch.full((), len(piece) / len(batch), device=self.device)
                loss = self._loss(piece)
                loss.backward(share)
                losses[step] += share * loss.detach()
            self.optimiser.step()
        return losses.cpu()

    def _loss(self, index: Tensor) -> Tensor:
        """The mean loss over the training images `index`, int64 [n] on the device."""
        images = self.images.index_select(0, index).float()  # a copy: the network may compute in place
        with self.autocast:
            prediction = self.model(images)
        return self.loss(prediction.float(), self.labels.index_select(0, index))

    def gradient(self, order: Tensor) -> tuple[dict[str, Tensor], float]:
        """The gradient of the batch `order`, int64 [n], by parameter, and its loss; changes nothing."""
        index, loss = order.to(self.device), 0.0
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        for piece in index.split(self.piece):
            part = self._loss(piece) * (len(piece) / len(index))
            part.backward()
            loss += part.item()
        found = {
            name: torch.zeros_like(value) if value.grad is None else value.grad.detach()
            for name, value in self.model.named_parameters()
        }
        return {name: value.cpu().contiguous().clone() for name, value in found.items()}, loss

    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        """See Learner."""
        self.model.eval()
        with torch.inference_mode(), self.autocast:
            predictions = [self._predicted(some) for some in pieces(batch_of(images), EVALUATED)]
        return evaluation(torch.cat(predictions).cpu(), labels)

    def _predicted(self, images: Tensor) -> Tensor:
        images = images.to(self.device)
        predictions = self.model(images.to(torch.float32, copy=True))  # float images would be shared
        check_predictions(self.run.model, predictions, len(images))
        return predictions.float()  # type: ignore[no-any-return]

    def weights(self) -> dict[str, Tensor]:
        """See Learner."""
        return {
            name: value.detach().cpu().contiguous().clone() for name, value in self.model.state_dict().items()
        }
