//! What the fuzz targets check. `tests/corrupt` includes the same modules, and gives them the corpus.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod checks;
mod cli;
mod config;
