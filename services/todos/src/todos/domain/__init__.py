"""Rules of a todo, without HTTP and without SQL."""
