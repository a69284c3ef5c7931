//! What a person's calendars show in a window of time.

pub mod recurrence;
