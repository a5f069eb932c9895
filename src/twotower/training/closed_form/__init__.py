"""Least squares and Gaussian posteriors: trainers of linear towers, and what gradients leave to be solved."""
