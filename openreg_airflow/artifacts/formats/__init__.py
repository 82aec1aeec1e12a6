"""What each format needs beside its writer: its section of a spec, its lines and cells."""
