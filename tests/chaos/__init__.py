"""Chaos on a real Kafka: members of one group, broken at random, and a ledger that is judged at the end."""
