"""autograder: trusted grades for notebooks that come from people who may cheat or crash."""
