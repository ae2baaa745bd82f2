"""Electrical features: rheobase, eFEL features per sweep, targets, model-fitting files."""
