"""SFTP as sources and destinations use it alike: login, pinned host keys, time-outs, faults."""
