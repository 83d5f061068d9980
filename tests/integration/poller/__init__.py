"""The poll thread alone on the embedded broker: a plain stand-in plays the event loop's side."""
