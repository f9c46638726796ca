"""The guest test bed: a stock kernel under QEMU with the NUMA topology that was asked for, and the real engine inside.

The initramfs holds busybox, the agent, and those files of the running Python that the real engine loads; so the same engine that
measures here measures there. Cells go in and rows come back, a line of JSON each, over a serial port: the kernel needs no module.
"""
