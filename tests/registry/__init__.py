"""Typed payloads against a real schema registry: Apicurio's, which speaks the API of Confluent's."""
