"""What scores users: the stages `signals`, `cold`, `titles` and `fuse`, and the snapshot that batch and live share."""
