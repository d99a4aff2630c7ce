"""The version of this project, in one place; CHANGELOG.md says what is in it."""

VERSION = "1.0.0"
