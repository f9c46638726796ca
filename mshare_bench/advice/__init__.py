"""What to do about page tables, in plain words: the ways that there are, what each saves, and its price."""
