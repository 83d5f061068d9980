"""The status page: the loop's part (``status_feed``), its data, its sentences (``verdict``), its files.

Begin with ``status``.
"""
