"""What operators see: metrics, health, snapshots."""
