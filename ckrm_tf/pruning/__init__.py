"""Pruning by the values of kernel slices (arXiv 2102.02804): masks, callback, what-if table."""
