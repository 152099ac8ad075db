"""Measures of redundancy: arrays in, arrays out; a table per model.

`ckrm_tf.measures.table.measure` is the entry point for a whole model.
"""
