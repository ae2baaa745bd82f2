"""Files at the edges: atomic writing, tables, provenance."""
