"""From settings to a finished folder: the pieces, the stages, the job."""
