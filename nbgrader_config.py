"""The repository is an nbgrader course: every nbgrader command works here as its manual says."""

from autograder.nbgrader_plugins import configure

c = get_config()  # noqa: F821 - nbgrader defines it
c.CourseDirectory.course_id = "segedu"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
configure(c)
