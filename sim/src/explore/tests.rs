//! Exploration: what it finds, what it does not, and that different ways meet.
