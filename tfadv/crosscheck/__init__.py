"""Cross-checks: the same attack by another library; one peer per file, and no other room imports a peer."""
