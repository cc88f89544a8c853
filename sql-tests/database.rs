//! The engine under test.
