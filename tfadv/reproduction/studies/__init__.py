"""The tables and figures of the papers, made again: one module for each, or for a few that share their work."""
