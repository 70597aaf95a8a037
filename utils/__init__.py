"""What the scripts share, in nine rooms; each imports only from those before it (see the README's layout)."""
