"""Questions of the poll thread to the broker beside its reading: about topics, ends of logs and the group's session.

Each is asked rarely, and reading never waits for an answer. Begin with ``topic_ids``.
"""
