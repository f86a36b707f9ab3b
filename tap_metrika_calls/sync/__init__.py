"""What a sync reads and remembers; nothing here knows HTTP or the Singer SDK."""
