"""Worker processes as their engines see them: what each was sent, and whether it hangs. On the event loop."""
