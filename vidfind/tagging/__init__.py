"""Tags of videos: keeps those that an owner gives, learns them, and adds or suggests them for other videos."""
