"""Patch-clamp recordings: files of any laboratory in, one checked sweep table per cell out."""
