"""From configuration to values of the domain and back; the only importer of Hydra and OmegaConf."""
