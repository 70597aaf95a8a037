"""Everything the scripts share: one noun a module."""
