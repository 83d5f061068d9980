"""Mutation testing of what decides (``control_plane``, ``ingress/reading``): ``make mutants`` runs ``__main__``."""
