"""Processes, threads, files, a run's folder, progress, Ctrl-C, trackers."""
