"""What users need to test their workers without a broker."""
