"""What is measured beside trainings: label distributions, the harness itself, the noise of the gradient."""
