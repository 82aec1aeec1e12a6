"""References under which records stand at an authority: no reuse, and corrections."""
