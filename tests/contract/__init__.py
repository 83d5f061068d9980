"""The contract that every execution engine keeps."""
