//! What is known of the dead kernel.
