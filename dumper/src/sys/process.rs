//! Children, signals, memory protection of PID 1.
