"""Kernels of our own for training on a CPU, in C++ that is compiled where it is first used.

norms is batch norm with the addition and the ReLU after it, winograd the convolutions of 3x3 with fewer
multiplications, and networks says where a network uses them. Without a compiler, torch's operations do the same.
"""
