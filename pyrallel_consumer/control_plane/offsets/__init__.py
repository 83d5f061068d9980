"""Finished offsets: the tracker of a partition's offsets, the map of those above the committed one, and its bytes.

Law: the committed offset never passes an unfinished offset. Begin with ``offset_tracker``, then ``commit_encoder``;
``commit_sequence`` decides when to commit.
"""
