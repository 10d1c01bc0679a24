"""The network of the study."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

IMAGE_SIZE: Final = 28
PARAMETERS: Final = 21_381


class RegressionCNN(nn.Module):
    """Two convolutions and two linear layers; 21,381 parameters (Lamon et al. 2021, figure 3).

    Conv2d(1,10,5) - MaxPool2d(2) - ReLU - Conv2d(10,20,5) - MaxPool2d(2) - ReLU - flatten 320 -
    Linear(320,50) - ReLU - Linear(50,1), in the order of construction that the study's seeds assume. It pools
    before the ReLU, and has no dropout.

    Input: floating [N, 1, 28, 28], raw pixels 0..255. Output: [N], label units. Raises ValueError for images
    of another shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 1)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Predictions [N] for images [N, 1, 28, 28]."""
        if images.ndim != 4 or images.shape[1:] != (1, IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"images: expected shape [N, 1, 28, 28], got {list(images.shape)}; resize or reshape them"
            )
        hidden = self.relu(self.pool(self.conv1(images)))
        hidden = self.relu(self.pool(self.conv2(hidden)))
        hidden = self.relu(self.fc1(hidden.flatten(1)))
        prediction: Tensor = self.fc2(hidden)
        return prediction.squeeze(1)
