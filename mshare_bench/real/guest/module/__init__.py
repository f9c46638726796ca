"""A loadable module that shares PTE pages on stock kernels, for guests that are thrown away (C, GPL-2.0), and how it is built."""
