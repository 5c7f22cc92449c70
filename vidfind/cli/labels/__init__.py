"""`vidfind tag` and `vidfind learn`: the tags and classes that an owner gives to videos, and what is learned."""
