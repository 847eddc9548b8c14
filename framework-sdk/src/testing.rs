//! A scripted master for tests of frameworks.
