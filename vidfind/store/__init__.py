"""An index on disk: its tables, settings, health and repair. lancedb and pyarrow are imported here alone."""
