"""Key-ordered parallel consumption of Kafka topics."""
