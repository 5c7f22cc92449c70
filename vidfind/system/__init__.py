"""The machine: folders, files, times, processes, players, quick imports."""
