"""Unit costs of this machine, measured: `mshare-bench calibrate`."""
