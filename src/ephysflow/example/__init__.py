"""The embedded example: patch-clamp recordings of simulated cells, in the file formats of real rigs."""

from ephysflow.example.files import true_stimuli, write_example

__all__ = ["true_stimuli", "write_example"]
