"""Shipped feature and trial-step functions; `registry` names them."""
