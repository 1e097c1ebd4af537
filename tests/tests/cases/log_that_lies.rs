//! A log whose records claim more text than any kernel holds.
