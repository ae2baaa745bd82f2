"""From raw electrophysiology to what circuit modelling needs."""
