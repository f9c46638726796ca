"""The values that every room of mshare-bench speaks; this package imports nothing else of ours but the errors."""
