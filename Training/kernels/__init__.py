"""Fast forms of the layers that are trained: what is fast on a device (`acceleration`), and its kernels."""
