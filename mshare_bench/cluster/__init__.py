"""Where cells run: in this process, or through Ray; the only importer of Ray. Engines arrive as ports."""
