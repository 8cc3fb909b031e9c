//! What changes from one configuration to the next.
