"""The whole consumer on a real Apache Kafka node."""
