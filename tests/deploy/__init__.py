"""What ships for operation: the image and the Helm chart, checked without Docker and without a cluster."""
