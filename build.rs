//! Compiles the messages and calls of etcd (feature `cluster`). protox is a compiler of Protocol Buffers in
//! Rust, so `protoc` does not have to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cluster")]
    {
        println!("cargo::rerun-if-changed=src/etcd/etcd.proto");
        let files = protox::compile(["src/etcd/etcd.proto"], ["src/etcd"])?;
        tonic_prost_build::configure()
            .build_server(false)
            .build_transport(false)
            .compile_fds(files)?;
    }
    Ok(())
}
