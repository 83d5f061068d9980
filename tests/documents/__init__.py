"""What people read and copy: the examples and the snippets of the documents, run as they would run them."""
