"""Finds the video files of folders as people have them: links, bins, proxies, ignore files. Knows no index."""
