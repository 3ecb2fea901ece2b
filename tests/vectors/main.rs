//! The bytes: published vectors, a second implementation, our own good and bad vectors, and decoders under fire.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod cases;
mod decoders;
mod generations;
mod joins;
mod kubernetes;
mod mutation;
mod published;
mod second;
mod seeds_and_marks;
mod slots;
