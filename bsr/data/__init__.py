"""The images: bundled MNIST, and other data sets by name."""
