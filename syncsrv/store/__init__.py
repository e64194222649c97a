"""The Git repository; the only package that knows dulwich."""
