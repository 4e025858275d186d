//! Part of ropewalk.
