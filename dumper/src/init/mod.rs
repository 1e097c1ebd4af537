//! PID 1 of the capture kernel.
