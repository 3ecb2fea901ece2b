//! kekring: a Kubernetes KMS v2 encryption provider that keeps its own ring of keys and rotates them by itself.
//!
//! ```text
//! request   kube-apiserver ─ socket ─▶ listener ─▶ peer ─▶ service ─▶ live ─▶ keyring ─▶ aead ─▶ reply
//!           async ──────────────────────────────────────▶│ plain functions: no await, no I/O, no lock held
//!
//! change    verb ─▶ custody.open ─▶ lifecycle (pure) ─▶ custody.commit        serve ─▶ reload ─▶ swap
//!                   store → root → format               format → store
//! ```
//!
//! The modules stand in the order of a request, then in that of a change, then the edges. Each knows only what stands
//! below it in its own picture; `tests/layering` holds that.

pub mod crypto;
pub mod keyring;
pub mod server;
pub mod service;

pub mod custody;
pub mod format;
pub mod member;
pub mod nodes;
pub mod reload;
pub mod root;
pub mod store;

pub mod cluster;
pub mod etcd;

pub mod cli;
pub mod config;
pub mod proto;
pub mod telemetry;
