"""What is made of the results: which network is recommended."""
