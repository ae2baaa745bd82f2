"""Segment positions of SONATA circuits and the coefficients of electrodes, for simulators that compute LFPs."""
