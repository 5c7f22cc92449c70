"""Ways to read the frames of a file, each right for some kinds of files; `media.read` chooses one."""
