"""The status page: what the loop gives it (``status_feed``), its data, its words (``verdict``), its files.

Begin with ``status``.
"""
