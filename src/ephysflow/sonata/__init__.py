"""Files of SONATA circuits and simulations, read and checked: configurations, nodes, spikes, reports."""
