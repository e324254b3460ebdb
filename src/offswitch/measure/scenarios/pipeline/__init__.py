"""The scenario ``pipeline``: an agent repairs code in a CI job, and the job is cancelled or its budget runs out."""
