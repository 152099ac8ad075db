"""The figures of a report: what each shows is worked out once, then drawn for page and paper."""
