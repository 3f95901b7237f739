"""Run a student's functions where they can do no harm, and exchange nothing but plain data with them."""
