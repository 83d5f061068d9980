"""Dead letters from the topic back: the commands that show them and send them again."""
