//! `config encryption --merge`, from the product's source: the verb prints, and this returns what it would print.
#![allow(dead_code)]

#[path = "encryption.rs"]
pub mod encryption;
