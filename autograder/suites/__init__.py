"""One pytest suite per exercise: the student's instant check and the grade come from the same file."""
