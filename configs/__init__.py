"""The settings files: a package, so that the commands find them wherever they run."""
