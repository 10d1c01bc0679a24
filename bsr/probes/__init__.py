"""What is measured beside trainings: the distribution of labels, the harness itself, the noise of the gradient."""
