"""An index on disk: its tables, settings, health and repair. Only this package imports lancedb and pyarrow."""
