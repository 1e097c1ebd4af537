//! Configuration of a capture.
