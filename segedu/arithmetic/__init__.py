"""Convolution arithmetic: sizes, receptive fields, parameters and multiply-adds, of any `nn.Module` by tracing it."""

from segedu.arithmetic.counting import activation_memory, count_multiply_adds, count_parameters
from segedu.arithmetic.receptive_fields import ReceptiveField, effective_receptive_field, receptive_field
from segedu.arithmetic.sizes import effective_kernel, output_size, transposed_output_size
from segedu.arithmetic.tables import Layer, layer_table

__all__ = [
    "Layer",
    "ReceptiveField",
    "activation_memory",
    "count_multiply_adds",
    "count_parameters",
    "effective_kernel",
    "effective_receptive_field",
    "layer_table",
    "output_size",
    "receptive_field",
    "transposed_output_size",
]
