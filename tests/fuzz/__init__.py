"""Bytes of any kind, wherever strangers' bytes come in: they end nothing, and no message is skipped for them.

The decoder of commit metadata has its own tests of this kind beside its others; frames have some there, too.
"""
