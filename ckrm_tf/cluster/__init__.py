"""Many trainings at once by Ray, on one machine or on many; the extra `cluster` installs it."""
