//! Compiles `proto/` with a compiler written in Rust, so that a fresh machine needs cargo and a C compiler only.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        // The unwinder in the program itself: loading libgcc_s takes a twentieth of a start.
        println!("cargo:rustc-link-lib=static:+whole-archive,-bundle=gcc_eh");
    }
    let files = protox::compile(
        [
            "proto/kmsv2.proto",
            "proto/encrypted_object.proto",
            "proto/ring.proto",
        ],
        ["proto"],
    )?;
    tonic_prost_build::configure()
        // Messages that carry seeds or keys must not be printable.
        .skip_debug([
            "v2.EncryptRequest",
            "v2.DecryptResponse",
            "kekring.v1.Body",
            "kekring.v1.Key",
        ])
        // The one client has a connection of its own; see `src/cli/probe.rs`.
        .build_transport(false)
        .codec_path("crate::proto::StrictCodec")
        .compile_fds(files)?;
    let etcd = protox::compile(["proto/etcd.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // A password, what stands for it, and every value, also of what is not encrypted yet.
        .skip_debug(["."])
        // Messages alone: `src/etcd/call.rs` makes every call, so that it knows what has been sent.
        .build_client(false)
        .build_server(false)
        .compile_fds(etcd)?;
    Ok(())
}
