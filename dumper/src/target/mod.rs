//! Where a dump goes.
