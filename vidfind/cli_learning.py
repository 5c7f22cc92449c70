"""The commands that teach vidfind and judge it: parse, call a pipeline, hand the result to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""
