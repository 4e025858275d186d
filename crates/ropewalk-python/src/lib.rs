//! The extension module `ropewalk._ropewalk`.
