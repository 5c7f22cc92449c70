"""The places of indexes: a folder on disk, or one in object storage. Nothing here knows what an index holds."""
