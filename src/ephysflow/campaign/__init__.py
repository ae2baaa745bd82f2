"""Simulation campaigns: reports extracted by neuron class and window, features over products of parameters."""
