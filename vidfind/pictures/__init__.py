"""Small pictures of moments: made in tens of milliseconds, and kept in a cache by the content of the video."""
