"""Measures of redundancy: arrays in, arrays out; a table per model.

`ckrm_tf.measure.table.measure` is the entry point for a whole model.
"""
