"""How the frames of a clip become one vector: towers, token reductions, the stream of encoded clips."""
