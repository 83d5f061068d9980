"""A whole consumer on the embedded broker: its life, its flow, its workers, its end."""
